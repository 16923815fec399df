"""The configuration of a cluster: who its servers are, and which of them vote.

A configuration is one log entry that holds the whole set; the first one is the bootstrap record at
index 1, alike on every bootstrap server. Identity is the node id; an address is only a hint, since
gossip knows better. The set also remembers whom it has removed. How one set may follow another is
decided in ``changes``; this module is the value and its form.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack

from raftstore.errors import DecodeError

MEMBERS_MAX = 64
NODE_ID_CHARS_MAX = 128
ADDRESS_CHARS_MAX = 270
VOTER = 1
NON_VOTER = 2
STAGING = 3
"""A non-voter that is to vote as soon as it has caught up."""
ROLE_NAMES = {VOTER: "voter", NON_VOTER: "non-voter", STAGING: "staging"}
FORMER_MAX = 256
"""Removed ids that a configuration remembers; the oldest are forgotten first."""
FORMAT = 1
FORMAT_FORMER = 2
FORMAT_DISKS = 3
DISK_ID_CHARS_MAX = 64
CLUSTER_NAMESPACE = uuid.UUID("6f0d0e0c-3b7e-5c52-9d6e-0a7d8a5b1c11")


@dataclass(frozen=True, slots=True)
class Disk:
    """What a server keeps its promises on. A promise is worth no more than the memory of it."""

    id: str = ""
    """Random, made together with the journal; empty where nobody has told."""
    founding: bool = True
    """Does it go back to the cluster's beginning, or to before ids were noted?"""


UNTOLD_DISK = Disk()


@dataclass(frozen=True, slots=True)
class Member:
    """One server: its role and the address it was last known by ("host:port")."""

    role: int
    address: str
    disk: str = ""
    """The disk by which the server is known, empty until a leader has noted it."""

    def keeps_promises_on(self, disk: Disk) -> bool:
        """Is that the disk on which this member has voted and acknowledged so far?

        A server that has lost it has forgotten both: what it says now must not count.
        """
        return self.disk == disk.id if self.disk else disk.founding


@dataclass(frozen=True, slots=True)
class Config:
    """The whole set of servers, and the cluster it belongs to."""

    cluster_id: str
    members: Mapping[str, Member]
    former: tuple[str, ...] = ()
    """Ids that were removed once, the latest last; a member that was removed and came back too."""

    @property
    def removed(self) -> frozenset[str]:
        """Ids that are members no longer."""
        return frozenset(n for n in self.former if n not in self.members)

    @property
    def returned(self) -> tuple[str, ...]:
        """Ids that were removed once and are members again."""
        return tuple(n for n in self.former if n in self.members)

    @property
    def voters(self) -> frozenset[str]:
        """Ids of the servers whose votes and acknowledgements count."""
        return frozenset(n for n, member in self.members.items() if member.role == VOTER)

    def encode(self) -> bytes:
        """The one encoding of this set: members are sorted, so equal sets have equal bytes."""
        members = sorted(self.members.items())
        rows: list[list[Any]] = [[n, m.role, m.address] for n, m in members]
        value: list[Any] = [FORMAT, self.cluster_id, rows]
        if any(m.disk for m in self.members.values()):
            rows = [[n, m.role, m.address, m.disk] for n, m in members]
            value = [FORMAT_DISKS, self.cluster_id, rows, list(self.former)]
        elif self.former:
            value = [FORMAT_FORMER, self.cluster_id, rows, list(self.former)]
        data: bytes = msgpack.packb(value)
        return data


def bootstrap_config(members: Mapping[str, str]) -> Config:
    """The first configuration: all vote. The cluster id follows from the sorted node ids alone."""
    if not members:
        raise ValueError("a cluster needs at least one server")
    name = "\n".join(sorted(members))
    return decode_config(
        Config(
            str(uuid.uuid5(CLUSTER_NAMESPACE, name)),
            {n: Member(VOTER, address) for n, address in members.items()},
        ).encode()
    )


def decode_config(data: bytes) -> Config:
    """Read a configuration; raises DecodeError unless it has exactly the promised shape."""
    try:
        value: Any = msgpack.unpackb(data, use_list=True, max_map_len=0, max_ext_len=0)
    except (ValueError, TypeError) as error:
        raise DecodeError(f"configuration: {error}") from None
    former: list[Any] = []
    match value:
        case [int(number), str(cluster_id), list(rows)] if number == FORMAT:
            pass
        case [int(number), str(cluster_id), list(rows), list(former)] if number in (
            FORMAT_FORMER,
            FORMAT_DISKS,
        ):
            pass
        case _:
            raise DecodeError("configuration: wrong shape")
    if not 0 < len(rows) <= MEMBERS_MAX or not 0 < len(cluster_id) <= NODE_ID_CHARS_MAX:
        raise DecodeError("configuration: wrong number of members")
    members: dict[str, Member] = {}
    for row in rows:
        if number == FORMAT_DISKS and isinstance(row, list) and len(row) == 4:
            disk = row.pop()
        else:
            disk = ""
        match row:
            case [str(node_id), int(role), str(address)] if (
                isinstance(disk, str)
                and len(disk) <= DISK_ID_CHARS_MAX
                and 0 < len(node_id) <= NODE_ID_CHARS_MAX
                and len(address) <= ADDRESS_CHARS_MAX
                and role in ROLE_NAMES
                and type(role) is int
                and node_id not in members
            ):
                members[node_id] = Member(role, address, disk)
            case _:
                raise DecodeError("configuration: wrong member")
    return Config(cluster_id, members, _former(former))


def _former(ids: list[Any]) -> tuple[str, ...]:
    if len(ids) > FORMER_MAX or len(set(map(str, ids))) != len(ids):
        raise DecodeError("configuration: wrong list of former members")
    for node_id in ids:
        if not isinstance(node_id, str) or not 0 < len(node_id) <= NODE_ID_CHARS_MAX:
            raise DecodeError("configuration: wrong former member")
    return tuple(ids)
