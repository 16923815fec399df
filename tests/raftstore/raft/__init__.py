"""Tests of raftstore.raft."""
