"""What the rows of each table are, as bytes for those who show the journal of changes.

Table names are part of what clients see and of snapshots: ONLY APPEND.
"""

from __future__ import annotations

from typing import Any

from raftstore.codec import LazyCodecs, pack, unpack
from raftstore.definitions import KINDS
from raftstore.errors import DecodeError
from raftstore.records import (
    AutopilotConfig,
    CAConfig,
    CARoot,
    Check,
    KVPair,
    Node,
    Restored,
    Service,
    ServiceIntentions,
    Session,
)

#: Longest row that is read: one command's worth, and what the codec adds.
ROW_BYTES_MAX = 4 * 1024 * 1024

#: Record type by table.
TYPES: dict[str, Any] = {
    "nodes": Node,
    "services": Service,
    "checks": Check,
    "kv": KVPair,
    "intentions": ServiceIntentions,
    "ca-config": CAConfig,
    "ca-roots": tuple[CARoot, ...],
    "ca-serial": int,
    "autopilot": AutopilotConfig,
    **KINDS,
    "sessions": Session,
    "restores": Restored,
    "ca-request": str,
}
CODECS: LazyCodecs[str] = LazyCodecs(TYPES)


def write(table: str, record: Any) -> bytes | None:
    """A row as bytes; None stays None."""
    return None if record is None else pack(CODECS[table].to_plain(record))


def read(table: str, data: bytes | None) -> Any:
    """The record behind a row's bytes. Raises DecodeError."""
    if data is None:
        return None
    if table not in TYPES:
        raise DecodeError(f"the table {table!r} is not known here")
    return CODECS[table].from_plain(unpack(data, bytes_max=ROW_BYTES_MAX))
