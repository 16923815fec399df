"""Seeded simulations: a cluster in one process, on a virtual clock."""
