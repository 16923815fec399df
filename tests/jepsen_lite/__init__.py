"""Tests of the fault tester."""
