"""Tests of agent.explain."""
