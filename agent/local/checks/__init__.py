"""Health checks of this host: when each is due, what a probe saw, what that makes of its status."""
