"""What the rows of each table are, as bytes for those who show the journal of changes.

Table names are part of what clients see and of snapshots: ONLY APPEND.
"""

from __future__ import annotations

from typing import Any

from raftstore.codec import Codec, codec_for, pack, unpack
from raftstore.definitions import (
    ACLAuthMethod,
    ACLBindingRule,
    ACLPolicy,
    ACLRole,
    ACLToken,
    ConfigEntry,
    Coordinate,
    PreparedQuery,
)
from raftstore.errors import DecodeError
from raftstore.records import (
    AutopilotConfig,
    CAConfig,
    CARoot,
    Check,
    KVPair,
    Node,
    Service,
    ServiceIntentions,
    Session,
)

#: Longest row that is read: one command's worth, and what the codec adds.
ROW_BYTES_MAX = 4 * 1024 * 1024

#: Record type by table.
CODECS: dict[str, Codec[Any]] = {
    "nodes": codec_for(Node),
    "services": codec_for(Service),
    "checks": codec_for(Check),
    "kv": codec_for(KVPair),
    "intentions": codec_for(ServiceIntentions),
    "ca-config": codec_for(CAConfig),
    "ca-roots": codec_for(tuple[CARoot, ...]),
    "ca-serial": codec_for(int),
    "autopilot": codec_for(AutopilotConfig),
    "config-entries": codec_for(ConfigEntry),
    "acl-tokens": codec_for(ACLToken),
    "acl-policies": codec_for(ACLPolicy),
    "acl-roles": codec_for(ACLRole),
    "acl-auth-methods": codec_for(ACLAuthMethod),
    "acl-binding-rules": codec_for(ACLBindingRule),
    "prepared-queries": codec_for(PreparedQuery),
    "coordinates": codec_for(Coordinate),
    "sessions": codec_for(Session),
}


def write(table: str, record: Any) -> bytes | None:
    """A row as bytes; None stays None."""
    return None if record is None else pack(CODECS[table].to_plain(record))


def read(table: str, data: bytes | None) -> Any:
    """The record behind a row's bytes. Raises DecodeError."""
    if data is None:
        return None
    codec = CODECS.get(table)
    if codec is None:
        raise DecodeError(f"the table {table!r} is not known here")
    return codec.from_plain(unpack(data, bytes_max=ROW_BYTES_MAX))
