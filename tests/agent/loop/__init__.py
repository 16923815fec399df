"""Tests of agent.loop."""
