"""The methods that agents may call on a server, and the shapes of what they carry.

Commands, queries, answers and outcomes travel as raftstore.wire encodes them; this module adds how
an answer must be read (consistency, age). A server-only query is refused here, so that no secret
can leave through the network whatever a face asks for.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import msgpack

from agent.backend import Ask, Consistency, RaftConfiguration, RaftServer, Reply, SignedLeaf
from raftstore import answers, wire
from raftstore.codec import bytes_header
from raftstore.errors import DecodeError
from raftstore.queries import Answer, At, Query

CHANGE = "change"
ASK = "ask"
READ_INDEX = "read-index"
SIGN_LEAF = "sign-leaf"
LEADER = "leader"
RAFT_SERVERS = "raft-servers"
BOOTSTRAP_VIEW = "bootstrap-view"
#: Of agent/connect/auto_encrypt.py: the one thing that a caller without a certificate may ask for.
AGENT_CERTIFICATE = "agent-certificate"
#: Of agent/wan: a request that is answered where it arrives, and one that a server passes on.
HTTP = "http"
ELSEWHERE = "elsewhere"
#: Carries the secret of a token, and another method with its payload.
AS = "as"
#: What is asked without a token: where servers are and how far they have come.
WITHOUT_TOKEN = frozenset({READ_INDEX, LEADER, RAFT_SERVERS, BOOTSTRAP_VIEW})

#: Arrays in one call or reply: a set of servers has one for each.
ARRAYS_MAX = 1024

#: Longest time a server holds a request, in seconds: the longest blocking query, and slack.
HOLD_MAX_S = 700.0


def pack(*items: Any) -> bytes:
    """A msgpack array of plain values."""
    packed: bytes = msgpack.packb(items, use_bin_type=True)
    return packed


def unpack(payload: bytes, *types: type | tuple[type, ...]) -> list[Any]:
    """The values of an array, each of the given type. Raises DecodeError."""
    left = ARRAYS_MAX

    def count(items: list[Any]) -> list[Any]:
        # An empty array is one byte here and 56 in memory: none of us sends many.
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError("too many arrays")
        return items

    try:
        items = msgpack.unpackb(
            payload, raw=False, max_ext_len=0, max_map_len=0, max_array_len=4096, list_hook=count
        )
    except Exception as error:  # msgpack raises many kinds; all mean the same to us
        raise DecodeError(f"no msgpack: {type(error).__name__}") from error
    if type(items) is not list or len(items) < len(types):
        raise DecodeError("arguments are missing")
    for item, wanted in zip(items, types, strict=False):
        if not isinstance(item, wanted):
            raise DecodeError(f"an argument is {type(item).__name__}")
    return items


def write_as(secret: str, method: str, payload: bytes) -> bytes:
    """The payload of ``AS``."""
    return pack(secret, method, payload)


def read_as(payload: bytes) -> tuple[str, str, bytes]:
    """Secret, method and its payload. Raises DecodeError."""
    secret, method, inner, *_ = unpack(payload, str, str, bytes)
    return secret, method, inner


@dataclass(frozen=True, slots=True)
class AskCall:
    """The arguments of ``ASK``."""

    query: Query[Any]
    options: Ask

    def encode(self) -> bytes:
        """As bytes for the wire."""
        options = self.options
        return pack(
            wire.encode_query(self.query),
            options.consistency.value,
            options.min_index,
            options.wait_s,
            -1.0 if options.max_stale_s is None else options.max_stale_s,
            *_moment(options.at),
        )

    @classmethod
    def decode(cls, payload: bytes) -> AskCall:
        """From the wire. Raises DecodeError, also for a query that only a server may ask."""
        number = (int, float)
        raw, mode, index, wait_s, stale_s, *rest = unpack(payload, bytes, str, int, number, number)
        wire.check_elements(raw)
        query = wire.decode_query(raw)
        if query.server_only:
            raise DecodeError("this query is not answered over the network")
        if index < 0 or not 0 <= wait_s <= HOLD_MAX_S:
            raise DecodeError("index or wait out of range")
        try:
            consistency = Consistency(mode)
        except ValueError:
            raise DecodeError("unknown consistency") from None
        options = Ask(
            consistency=consistency,
            min_index=index,
            wait_s=float(wait_s),
            max_stale_s=None if stale_s < 0 else float(stale_s),
            at=_read_moment(rest),
        )
        return cls(query, options)


def _moment(at: At | None) -> tuple[int | float, ...]:
    """An index as an integer, a time as a float; nothing for now."""
    if at is None:
        return ()
    if at.stamp is not None:
        return (float(at.stamp),)
    return () if at.index is None else (at.index,)


def _read_moment(rest: list[Any]) -> At | None:
    if not rest:
        return None
    if type(rest[0]) is float:
        return At(stamp=rest[0])
    if type(rest[0]) is not int or rest[0] < 0:
        raise DecodeError("a moment is an index or a time")
    return At(index=rest[0])


def encode_reply(
    query: Query[Any], reply: Reply[Any], *, bytes_max: int = wire.LIMITS.answer_bytes_max
) -> Generator[None, None, bytes]:
    """An answer with its age, in steps. Raises EncodeError, AnswerTooLarge."""
    answer = yield from answers.encode_answer(
        query, Answer(reply.index, reply.value), bytes_max=bytes_max
    )
    yield
    age = pack(reply.known_leader, reply.last_contact_s, reply.consistency.value, reply.filtered)
    # As ``pack`` of all five would have it, with one copy instead of three.
    return b"".join((b"\x95", bytes_header(len(answer)), answer, age[1:]))


def decode_reply(query: Query[Any], payload: bytes) -> Generator[None, None, Reply[Any]]:
    """The answer to ``query``, in steps. Raises DecodeError."""
    raw, known_leader, last_contact_s, mode, *more = unpack(payload, bytes, bool, (int, float), str)
    yield
    answer = yield from answers.decode_answer(query, raw)
    return Reply(
        value=answer.value,
        index=answer.index,
        known_leader=known_leader,
        last_contact_s=float(last_contact_s),
        consistency=Consistency(mode),
        filtered=more[:1] == [True],
    )


def encode_leaf(leaf: SignedLeaf) -> bytes:
    """A signed certificate."""
    return pack(leaf.cert_pem, leaf.serial_number, leaf.index, leaf.per_second)


def decode_leaf(payload: bytes) -> SignedLeaf:
    """A signed certificate from the wire. Raises DecodeError."""
    cert_pem, serial_number, index, per_second, *_ = unpack(payload, str, str, int, float)
    return SignedLeaf(
        cert_pem=cert_pem, serial_number=serial_number, index=index, per_second=per_second
    )


def encode_configuration(found: RaftConfiguration) -> bytes:
    """The Raft configuration."""
    return pack([[s.node_id, s.address, s.leader, s.voter] for s in found.servers], found.index)


def decode_configuration(payload: bytes) -> RaftConfiguration:
    """The Raft configuration from the wire. Raises DecodeError."""
    rows, index, *_ = unpack(payload, list, int)
    servers = []
    for row in rows:
        match row:
            case [str(node_id), str(address), bool(leader), bool(voter), *_]:
                servers.append(RaftServer(node_id, address, leader, voter))
            case _:
                raise DecodeError("a server has an id, an address and two flags")
    return RaftConfiguration(tuple(servers), index)
