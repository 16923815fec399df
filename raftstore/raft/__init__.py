"""Replicates bytes between servers and knows nothing of what they mean."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

#: Where each of them stands. They are loaded when they are asked for: an agent that is no server
#: uses two small modules of this package, and is spared the engine with its map of the disk.
_HOMES = {
    "RaftConfig": "config",
    "RaftNode": "driver",
    "LmdbJournal": "journal",
    "Journal": "log",
    "MemJournal": "log",
    "Operations": "operations",
    "SnapshotFiles": "snapshot",
    "RaftStatus": "status",
    "ServerStatus": "status",
    "FIRST_BYTE": "transport",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
