"""Tests of the load-balancing policies."""
