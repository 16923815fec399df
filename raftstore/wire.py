"""Commands, queries, answers and outcomes as bytes: in the log, in snapshots, between agents.

Every message is a msgpack array with a version first. A command is [version, number, request id or
nil, fields], and behind them the actor if there is one; a query [version, number, fields]; an
answer [version, index, value], its value typed by the query it answers; an outcome [version,
applied, index, value or reason]. Numbers come from the registries in commands.py and queries.py.

Decoding is strict and raises nothing but ``DecodeError``; encoding raises ``EncodeError`` for what
could not be read back, so that an unreadable command never enters the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgpack

from raftstore import (
    catalog_queries,
    commands,
    definition_commands,
    definition_queries,
    dns_queries,
    mesh_queries,
    queries,
    restore_queries,
    revocations,
    signing_requests,
    virtual_commands,
)
from raftstore.codec import Codec, LazyCodecs, codec_for, pack, unpack
from raftstore.commands import Applied, Command, Outcome, Rejected, RequestId
from raftstore.errors import DecodeError, EncodeError
from raftstore.queries import Answer, Query
from raftstore.records import Actor, TxnAnswer

__all__ = [
    "LIMITS",
    "Codec",
    "Envelope",
    "WireLimits",
    "check_elements",
    "codec_for",
    "decode_answer",
    "decode_command",
    "decode_outcome",
    "decode_query",
    "decode_txn_answer",
    "encode_answer",
    "encode_command",
    "encode_outcome",
    "encode_query",
    "meaning_of",
]

T = TypeVar("T")

#: Imported for their entries in the registries.
_REGISTERED = (
    catalog_queries,
    definition_commands,
    definition_queries,
    dns_queries,
    mesh_queries,
    restore_queries,
    revocations,
    signing_requests,
    virtual_commands,
)

VERSION = 1
#: In a smaller message nothing can grow to anything.
SMALL_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WireLimits:
    """The largest messages that are written or read, in bytes."""

    #: A key's value may have 512 KiB by default (http-api contract 2), a registration far less.
    command_bytes_max: int = 1024 * 1024
    query_bytes_max: int = 256 * 1024
    #: Arrays, maps and what is in them, of a command or a query from another agent.
    elements_max: int = 128 * 1024
    #: Room for a listing of a large catalog.
    answer_bytes_max: int = 256 * 1024 * 1024
    #: A transaction gives back what it read (StateLimits.txn_results_bytes_max), and some room.
    outcome_bytes_max: int = 2 * 1024 * 1024 + 64 * 1024


LIMITS = WireLimits()

_PLAIN = codec_for(Any)
_REQUEST = codec_for(RequestId)
_ACTOR = codec_for(Actor)
#: Commands whose fields are texts, bytes and numbers only: they are read as they were written.
_FLAT = frozenset({commands.KVSet, commands.KVDelete, commands.KVDeleteTree})
#: Who has acted lately, by what is written of them.
_ACTORS: dict[tuple[Any, ...], Actor] = {}
_ACTORS_MAX = 4096
COMMANDS = LazyCodecs(dict(commands.REGISTRY))
QUERIES = LazyCodecs(dict(queries.REGISTRY))
ANSWERS = LazyCodecs({n: t.answer_type for n, t in queries.REGISTRY.items()})


class Envelope(NamedTuple):
    """A command with the identity of the request that brought it, and whose request it is."""

    command: Command
    request_id: RequestId | None = None
    actor: Actor | None = None


def encode_command(
    command: Command, *, request_id: RequestId | None = None, actor: Actor | None = None
) -> bytes:
    """A command in its envelope. Raises EncodeError."""
    request = None if request_id is None else _REQUEST.to_plain(request_id)
    message = [VERSION, command.number, request, COMMANDS[command.number].to_plain(command)]
    if actor is not None:
        message.append(_ACTOR.to_plain(actor))
    payload = pack(message)
    if len(payload) > LIMITS.command_bytes_max:
        raise EncodeError(f"command is over the limit of {LIMITS.command_bytes_max} bytes")
    return payload


def meaning_of(
    command: Command, request_id: RequestId | None, actor: Actor | None
) -> Envelope | None:
    """What ``decode_command`` gives for the bytes that ``encode_command`` has made of these; None
    where reading them may give another value, as it does for maps, whose keys it finds sorted."""
    if type(command) not in _FLAT:
        return None
    if actor is not None:
        actor = _known(actor, (actor.accessor, actor.address, actor.node))
    return Envelope(command, request_id, actor)


def decode_command(payload: bytes) -> Envelope:
    """The reverse. Raises DecodeError."""
    message = unpack(payload, bytes_max=LIMITS.command_bytes_max)
    _check_message(message, 4, optional=1)
    request = message[2]
    return Envelope(
        _numbered(COMMANDS, message[1], "command").from_plain(message[3]),
        None if request is None else _REQUEST.from_plain(request),
        _actor_of(message[4]) if len(message) == 5 else None,
    )


def _actor_of(plain: Any) -> Actor:
    """An actor; the same value for the same one, since the journal of changes keeps them all."""
    try:
        known = _ACTORS.get(tuple(plain)) if type(plain) is list else None
    except TypeError:  # something that has no hash: no actor
        known = None
    if known is not None:
        return known
    actor = _ACTOR.from_plain(plain)
    # Written short where its last fields are empty: it is the same one all the same.
    known = _known(actor, (actor.accessor, actor.address, actor.node))
    return _known(known, tuple(plain))


def _known(actor: Actor, key: tuple[Any, ...]) -> Actor:
    known = _ACTORS.get(key)
    if known is None:
        if len(_ACTORS) >= _ACTORS_MAX:
            _ACTORS.clear()
        known = _ACTORS[key] = actor
    return known


def check_elements(payload: bytes) -> None:
    """Refuse, before it is decoded, what would become too many objects. Raises DecodeError.

    For what comes from other agents: an empty array is one byte here and 56 in memory, and a
    million of them hold the loop for a second.
    """
    if len(payload) <= SMALL_BYTES:
        return
    left = LIMITS.elements_max

    def count(items: list[Any] | dict[Any, Any]) -> None:
        nonlocal left
        left -= 4 + len(items)  # an array costs more than what is in it
        if left < 0:
            raise ValueError("too many elements")

    try:
        msgpack.unpackb(
            payload,
            raw=False,
            strict_map_key=True,
            max_ext_len=0,
            max_array_len=LIMITS.elements_max,
            max_map_len=LIMITS.elements_max,
            list_hook=count,
            object_hook=count,
        )
    except Exception as error:  # msgpack raises many kinds; all mean the same to us
        raise DecodeError(f"no msgpack, or too many elements: {type(error).__name__}") from error


def encode_query(query: Query[Any]) -> bytes:
    """A query. Raises EncodeError."""
    return pack([VERSION, query.number, QUERIES[query.number].to_plain(query)])


def decode_query(payload: bytes) -> Query[Any]:
    """The reverse. Raises DecodeError."""
    number, fields = _message(payload, 3, LIMITS.query_bytes_max)
    query: Query[Any] = _numbered(QUERIES, number, "query").from_plain(fields)
    return query


def encode_answer(query: Query[T], answer: Answer[T]) -> bytes:
    """What the state said to this query. Raises EncodeError."""
    return pack([VERSION, answer.index, ANSWERS[query.number].to_plain(answer.value)])


def decode_answer(query: Query[T], payload: bytes) -> Answer[T]:
    """The reverse; the query tells the type. Raises DecodeError."""
    index, value = _message(payload, 3, LIMITS.answer_bytes_max)
    return Answer(_index(index), ANSWERS[query.number].from_plain(value))


def encode_outcome(outcome: Outcome) -> bytes:
    """What became of a command. Raises EncodeError."""
    return pack([VERSION, *outcome_to_plain(outcome)])


def decode_outcome(payload: bytes) -> Outcome:
    """The reverse. Raises DecodeError."""
    return outcome_from_plain(_message(payload, 4, LIMITS.outcome_bytes_max))


def decode_txn_answer(value: Any) -> TxnAnswer:
    """The value of an applied ``Transaction``. Raises DecodeError."""
    if type(value) is not bytes:
        raise DecodeError("a transaction's answer is bytes")
    answer: TxnAnswer = codec_for(TxnAnswer).decode(value, bytes_max=LIMITS.outcome_bytes_max)
    return answer


def outcome_to_plain(outcome: Outcome) -> list[Any]:
    """An outcome as [applied, index, value or reason]; a value is JSON, or ready-made bytes."""
    if isinstance(outcome, Applied):
        if type(outcome.value) is bytes:
            return [True, outcome.index, outcome.value]
        return [True, outcome.index, _PLAIN.to_plain(outcome.value)]
    return [False, outcome.index, outcome.reason]


def outcome_from_plain(plain: Any) -> Outcome:
    """The reverse. Raises DecodeError."""
    if type(plain) is not list or len(plain) != 3:
        raise DecodeError("outcome expected")
    applied, index, rest = plain
    if applied is True and type(rest) is bytes:
        return Applied(_index(index), rest)
    if applied is True:
        return Applied(_index(index), _PLAIN.from_plain(rest))
    if applied is False and type(rest) is str:
        return Rejected(_index(index), rest)
    raise DecodeError("outcome expected")


def _message(payload: bytes, items: int, bytes_max: int) -> list[Any]:
    """The parts of a message behind its version."""
    message = unpack(payload, bytes_max=bytes_max)
    _check_message(message, items)
    parts: list[Any] = message[1:]
    return parts


def _check_message(message: Any, items: int, *, optional: int = 0) -> None:
    if type(message) is not list or not items <= len(message) <= items + optional:
        raise DecodeError(f"array of {items} expected")
    if type(message[0]) is not int or message[0] != VERSION:
        raise DecodeError("this version is not known here")


def _numbered(codecs: LazyCodecs[int], number: Any, what: str) -> Codec[Any]:
    if type(number) is int:
        try:
            return codecs[number]
        except KeyError:
            pass
    raise DecodeError(f"this {what}'s number is not known here")


def _index(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise DecodeError("index expected")
    return value
