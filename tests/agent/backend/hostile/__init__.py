"""Hostile peers against a cluster of real servers in this process."""
