"""Tests of the duties of a leader."""
