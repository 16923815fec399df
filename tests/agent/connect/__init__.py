"""Tests of the mesh parts of an agent: authority, leaves, sidecars."""
