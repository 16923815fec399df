"""The audit log: who asked what of this agent, and what became of it."""
