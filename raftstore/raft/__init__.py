"""Replicates bytes between servers and knows nothing of what they mean."""

from __future__ import annotations

from raftstore.raft.config import RaftConfig
from raftstore.raft.driver import RaftNode
from raftstore.raft.journal import LmdbJournal
from raftstore.raft.log import Journal, MemJournal
from raftstore.raft.operations import Operations
from raftstore.raft.snapshot import SnapshotFiles
from raftstore.raft.status import RaftStatus, ServerStatus
from raftstore.raft.transport import FIRST_BYTE

__all__ = [
    "FIRST_BYTE",
    "Journal",
    "LmdbJournal",
    "MemJournal",
    "Operations",
    "RaftConfig",
    "RaftNode",
    "RaftStatus",
    "ServerStatus",
    "SnapshotFiles",
]
