"""What servers say to each other, as values and as bytes. Decides nothing.

A frame is a four-byte big-endian length and a msgpack array with a fixed shape per type. Every
field is checked for type and range before a value is made of it; anything else is a DecodeError,
upon which the link is closed. Type numbers are append-only. There are no maps, no extension types
and no object hooks, so a frame can carry numbers, strings and bytes and nothing more.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack

from raftstore.errors import DecodeError
from raftstore.raft.entry_runs import pack_run, read_run
from raftstore.raft.log import Entry
from raftstore.raft.lost_disk import NUMBER_MAX, DiskIs, Forgotten, disk_is, memory_of
from raftstore.raft.members import (
    MEMBERS_MAX,
    NODE_ID_CHARS_MAX,
    UNTOLD_DISK,
    Disk,
)

PROTOCOL_VERSION = 5
LENGTH = struct.Struct(">I")
ARRAY_MAX = 65_536
ARRAYS_MAX = 3
"""Arrays in a frame: one around all, and the terms and the commands of an append in it."""
SMALL_FRAME_BYTES = 16 * 1024
"""In a smaller frame nothing can grow to anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """First frame in each direction. ``cluster_id`` is empty before bootstrap; ``boot_nonce`` is
    fresh for every link and comes back in a confirmation (``greeting``).

    ``config_index`` is that of the sender's configuration: a server that was removed and came back
    shows by it that it knows more than who has seen it removed only. ``disk`` and ``last_index``
    say what the sender's memory is: whose promises it knows, and how far its log goes.
    """

    version: int
    cluster_id: str
    node_id: str
    to_node_id: str
    boot_nonce: int
    config_index: int = 0
    disk: Disk = UNTOLD_DISK
    last_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """AppendEntries (Raft, figure 2). ``seq`` counts the leader's appends to this peer,
    ``answered`` is the highest of them that it has an answer to, 0 for none (freshness.py)."""

    term: int
    seq: int
    prev_index: int
    prev_term: int
    commit: int
    entries: tuple[Entry, ...]
    answered: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendReply:
    """``ok``: our log equals the leader's up to ``index``; else: try again from ``index``."""

    term: int
    seq: int
    ok: bool
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteRequest:
    """RequestVote. ``transfer``: the leader itself ordered this election."""

    term: int
    last_index: int
    last_term: int
    transfer: bool


@dataclass(frozen=True, slots=True)
class VoteReply:
    """``term`` is the voter's own, so that a refused candidate learns of a newer one."""

    term: int
    granted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PreVoteRequest:
    """Would you vote for me in ``term``? Changes nothing on the voter (Raft thesis, 9.6)."""

    term: int
    round: int
    last_index: int
    last_term: int


@dataclass(frozen=True, slots=True)
class PreVoteReply:
    """Echoes the round."""

    term: int
    round: int
    granted: bool


@dataclass(frozen=True, slots=True)
class Probe:
    """Read index: am I still your leader?"""

    term: int
    round: int


@dataclass(frozen=True, slots=True)
class ProbeReply:
    """Yes, you are (there is no other answer)."""

    term: int
    round: int


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """The leader of ``term`` orders its receiver to campaign at once (Raft thesis, 3.10)."""

    term: int


@dataclass(frozen=True, slots=True)
class Removed:
    """You are no member any more: entry ``index``, which is committed, has removed you."""

    index: int


@dataclass(frozen=True, slots=True)
class Returned:
    """A vouch of a member: these had been removed once, and the sender's configuration has them.
    Tells who has only seen them removed (``admission``)."""

    config_index: int
    node_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeaseProbe:
    """Lease: will you stay loyal to me for an election timeout from now?"""

    term: int
    round: int


@dataclass(frozen=True, slots=True)
class LeaseReply:
    """Yes, I will (there is no other answer; a voter without leases gives none)."""

    term: int
    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOffer:
    """The leader's log no longer reaches back to what you lack; this file stands in for it."""

    term: int
    index: int
    index_term: int
    size: int
    sha256: bytes

    @property
    def transfer(self) -> int:
        """Names the file in what follows."""
        return transfer_id(self.sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotReply:
    """``status`` WANT: go on at ``offset``; HAVE: all up to index ``offset`` is here, durable and
    committed; REFUSED: not now."""

    term: int
    transfer: int
    status: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotChunk:
    """Bytes of the file from ``offset`` on."""

    term: int
    transfer: int
    offset: int
    data: bytes


WANT, HAVE, REFUSED = 0, 1, 2
SHA256_BYTES = 32


def transfer_id(sha256: bytes) -> int:
    """A number for a file, from its checksum: the same from every leader that has the file."""
    return int.from_bytes(sha256[:8], "big") >> 1


Message = (
    Append
    | AppendReply
    | VoteRequest
    | VoteReply
    | PreVoteRequest
    | PreVoteReply
    | Probe
    | ProbeReply
    | TimeoutNow
    | Removed
    | Forgotten
    | DiskIs
    | LeaseProbe
    | LeaseReply
    | SnapshotOffer
    | SnapshotReply
    | SnapshotChunk
)

_ARRAY_OF_NINE = b"\x99"

HELLO = 0
APPEND = 1
APPEND_REPLY = 2
VOTE_REQUEST = 3
VOTE_REPLY = 4
PRE_VOTE_REQUEST = 5
PRE_VOTE_REPLY = 6
PROBE = 7
PROBE_REPLY = 8
TIMEOUT_NOW = 9
REMOVED = 10
LEASE_PROBE = 11
LEASE_REPLY = 12
SNAPSHOT_OFFER = 20
SNAPSHOT_REPLY = 21
SNAPSHOT_CHUNK = 22
RETURNED = 31  # 30 is greeting.CONFIRM
FORGOTTEN = 27
DISK_IS = 28


def encode(message: Message | Hello | Returned) -> bytes:
    """A whole frame: length and body."""
    if isinstance(message, Append):
        return encode_append(message, pack_run(message.entries))
    body: bytes = msgpack.packb(_to_array(message))
    return LENGTH.pack(len(body)) + body


def encode_append(m: Append, run: bytes) -> bytes:
    """The frame of an append. ``run`` are its entries by ``pack_run``: several followers mostly get
    the same."""
    head = (APPEND, m.term, m.seq, m.prev_index, m.prev_term, m.commit, m.answered)
    packed = b"".join(map(msgpack.packb, head))
    return b"".join((LENGTH.pack(1 + len(packed) + len(run)), _ARRAY_OF_NINE, packed, run))


def _to_array(m: Message | Hello | Returned) -> list[Any]:
    match m:
        case AppendReply():
            return [APPEND_REPLY, m.term, m.seq, m.ok, m.index]
        case Probe():
            return [PROBE, m.term, m.round]
        case ProbeReply():
            return [PROBE_REPLY, m.term, m.round]
        case LeaseProbe():
            return [LEASE_PROBE, m.term, m.round]
        case LeaseReply():
            return [LEASE_REPLY, m.term, m.round]
        case TimeoutNow():
            return [TIMEOUT_NOW, m.term]
        case Removed():
            return [REMOVED, m.index]
        case Returned():
            return [RETURNED, m.config_index, list(m.node_ids)]
        case Forgotten():
            return [FORGOTTEN, m.term, m.index]
        case DiskIs():
            return [DISK_IS, m.disk.id, m.disk.founding]
        case SnapshotOffer():
            return [SNAPSHOT_OFFER, m.term, m.index, m.index_term, m.size, m.sha256]
        case SnapshotReply():
            return [SNAPSHOT_REPLY, m.term, m.transfer, m.status, m.offset]
        case SnapshotChunk():
            return [SNAPSHOT_CHUNK, m.term, m.transfer, m.offset, m.data]
        case VoteRequest():
            return [VOTE_REQUEST, m.term, m.last_index, m.last_term, m.transfer]
        case VoteReply():
            return [VOTE_REPLY, m.term, m.granted]
        case PreVoteRequest():
            return [PRE_VOTE_REQUEST, m.term, m.round, m.last_index, m.last_term]
        case PreVoteReply():
            return [PRE_VOTE_REPLY, m.term, m.round, m.granted]
        case Hello():
            names = [m.cluster_id, m.node_id, m.to_node_id]
            memory = [m.disk.id, m.disk.founding, m.last_index]
            return [HELLO, m.version, *names, m.boot_nonce, m.config_index, memory]
        case Append():
            raise AssertionError("written by encode_append")


def decode(body: bytes) -> Message | Returned:
    """Read the body of a frame after the hello; raises DecodeError."""
    fields = _unpack(body)
    kind = fields[0]
    if kind == APPEND:
        return _append(fields)
    if kind == RETURNED:
        return _returned(fields)
    shape = _SHAPES.get(kind) if type(kind) is int else None
    if shape is None:
        raise DecodeError("frame: unknown type")
    make, types = shape
    if len(fields) != 1 + len(types):
        raise DecodeError("frame: wrong number of fields")
    for value, wanted in zip(fields[1:], types, strict=True):
        if type(value) is not wanted:
            raise DecodeError("frame: wrong field")
        if isinstance(value, int) and not 0 <= value <= NUMBER_MAX:
            raise DecodeError("frame: wrong field")
    message: Message = make(*fields[1:])
    return message


def decode_hello(body: bytes) -> Hello:
    """Read the first frame of a link; raises DecodeError."""
    match _unpack(body):
        case [
            0,
            int(version),
            str(cluster_id),
            str(node_id),
            str(to),
            int(nonce),
            int(config),
            list(memory),
        ] if (
            0 <= version <= NUMBER_MAX
            and 0 <= config <= NUMBER_MAX
            and 0 <= nonce <= NUMBER_MAX
            and len(cluster_id) <= NODE_ID_CHARS_MAX
            and 0 < len(node_id) <= NODE_ID_CHARS_MAX
            and 0 < len(to) <= NODE_ID_CHARS_MAX
        ):
            disk, last_index = memory_of(memory)
            return Hello(
                version=version,
                cluster_id=cluster_id,
                node_id=node_id,
                to_node_id=to,
                boot_nonce=nonce,
                config_index=config,
                disk=disk,
                last_index=last_index,
            )
        case _:
            raise DecodeError("hello: wrong shape")


def _unpack(body: bytes) -> list[Any]:
    try:
        value = msgpack.unpackb(
            body,
            use_list=True,
            max_array_len=ARRAY_MAX,
            max_map_len=0,
            max_ext_len=0,
            list_hook=_shape_check() if len(body) > SMALL_FRAME_BYTES else None,
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise DecodeError(f"frame: {error}") from None
    if type(value) is not list or not value:
        raise DecodeError("frame: not an array")
    return value


def _shape_check() -> Callable[[list[Any]], list[Any]]:
    """Called for every array of a large frame, inner ones first; stops what would blow it up.

    A byte can stand for an empty list of 56, so that a frame of 8 MiB could become half a gigabyte.
    """
    left = ARRAYS_MAX

    def check(items: list[Any]) -> list[Any]:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError("too many arrays")
        return items

    return check


def _append(fields: list[Any]) -> Append:
    if len(fields) != 9:
        raise DecodeError("append: wrong shape")
    for value in fields[1:7]:
        if type(value) is not int or not 0 <= value <= NUMBER_MAX:
            raise DecodeError("append: wrong field")
    _, term, seq, prev_index, prev_term, commit, answered, terms, commands = fields
    if prev_term > term or prev_index > NUMBER_MAX - ARRAY_MAX:
        raise DecodeError("append: wrong field")
    return Append(
        term=term,
        seq=seq,
        prev_index=prev_index,
        prev_term=prev_term,
        commit=commit,
        entries=read_run(terms, commands, prev_index=prev_index, prev_term=prev_term, term=term),
        answered=answered,
    )


def _returned(fields: list[Any]) -> Returned:
    match fields:
        case [_, int(index), list(ids)] if (
            type(index) is int
            and 0 <= index <= NUMBER_MAX
            and len(ids) <= MEMBERS_MAX
            and all(type(one) is str and 0 < len(one) <= NODE_ID_CHARS_MAX for one in ids)
        ):
            return Returned(index, tuple(ids))
        case _:
            raise DecodeError("returned: wrong shape")


def _reply(term: int, seq: int, ok: bool, index: int) -> AppendReply:
    return AppendReply(term=term, seq=seq, ok=ok, index=index)


def _vote(term: int, last_index: int, last_term: int, transfer: bool) -> VoteRequest:
    return VoteRequest(term=term, last_index=last_index, last_term=last_term, transfer=transfer)


def _pre_vote(term: int, number: int, last_index: int, last_term: int) -> PreVoteRequest:
    return PreVoteRequest(term=term, round=number, last_index=last_index, last_term=last_term)


def _offer(term: int, index: int, index_term: int, size: int, sha256: bytes) -> SnapshotOffer:
    if len(sha256) != SHA256_BYTES or index_term > term or not index or not size:
        raise DecodeError("snapshot offer: wrong field")
    return SnapshotOffer(term=term, index=index, index_term=index_term, size=size, sha256=sha256)


def _snapshot_reply(term: int, transfer: int, status: int, offset: int) -> SnapshotReply:
    if status not in (WANT, HAVE, REFUSED):
        raise DecodeError("snapshot reply: wrong field")
    return SnapshotReply(term=term, transfer=transfer, status=status, offset=offset)


def _chunk(term: int, transfer: int, offset: int, data: bytes) -> SnapshotChunk:
    if not data:
        raise DecodeError("snapshot chunk: wrong field")
    return SnapshotChunk(term=term, transfer=transfer, offset=offset, data=data)


_SHAPES: dict[int, tuple[Any, tuple[type, ...]]] = {
    APPEND_REPLY: (_reply, (int, int, bool, int)),
    VOTE_REQUEST: (_vote, (int, int, int, bool)),
    VOTE_REPLY: (VoteReply, (int, bool)),
    PRE_VOTE_REQUEST: (_pre_vote, (int, int, int, int)),
    PRE_VOTE_REPLY: (PreVoteReply, (int, int, bool)),
    PROBE: (Probe, (int, int)),
    PROBE_REPLY: (ProbeReply, (int, int)),
    TIMEOUT_NOW: (TimeoutNow, (int,)),
    REMOVED: (Removed, (int,)),
    FORGOTTEN: (Forgotten, (int, int)),
    DISK_IS: (disk_is, (str, bool)),
    LEASE_PROBE: (LeaseProbe, (int, int)),
    LEASE_REPLY: (LeaseReply, (int, int)),
    SNAPSHOT_OFFER: (_offer, (int, int, int, int, bytes)),
    SNAPSHOT_REPLY: (_snapshot_reply, (int, int, int, int)),
    SNAPSHOT_CHUNK: (_chunk, (int, int, int, bytes)),
}
