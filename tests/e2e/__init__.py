"""Real processes on loopback: the four journeys, and what the issue promises of them."""
