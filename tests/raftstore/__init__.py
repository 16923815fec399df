"""Tests of raftstore."""
