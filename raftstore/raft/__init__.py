"""Replicates bytes between servers and knows nothing of what they mean."""

from __future__ import annotations

from raftstore.raft.config import RaftConfig
from raftstore.raft.driver import RaftNode
from raftstore.raft.journal import LmdbJournal
from raftstore.raft.log import Journal, MemJournal
from raftstore.raft.status import RaftStatus
from raftstore.raft.transport import FIRST_BYTE

__all__ = [
    "FIRST_BYTE",
    "Journal",
    "LmdbJournal",
    "MemJournal",
    "RaftConfig",
    "RaftNode",
    "RaftStatus",
]
