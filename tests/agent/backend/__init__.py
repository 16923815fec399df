"""Tests of agent/backend."""
