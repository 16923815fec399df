"""Logging in: foreign identities are proved, mapped to names, and bound to rights."""
