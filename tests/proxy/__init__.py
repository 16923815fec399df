"""Tests of the connect proxy."""
