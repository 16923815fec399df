"""Tests of agent.dns."""
