"""Tests of agent.acl."""
