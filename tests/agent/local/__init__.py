"""Tests of agent/local."""
