"""Replays of recordings of the reference."""
