"""Tests of agent/backend/rpc."""
