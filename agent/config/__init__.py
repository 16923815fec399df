"""What this agent was told: from files, flags and defaults to one frozen value."""
