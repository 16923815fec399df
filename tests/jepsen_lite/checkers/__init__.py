"""Tests of the checkers: each must catch a planted bug."""
