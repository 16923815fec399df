"""Tests of gossip's wire formats."""
