"""User events of this agent: what one is, whom it concerns, and those of late."""
