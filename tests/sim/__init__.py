"""Whole clusters in one process, driven by a seed."""
