"""Entries that follow each other as two values: their terms and their commands. Pure.

On the wire and on disk alike. Nearly always all are of one term, which then stands once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any

import msgpack

from raftstore.errors import DecodeError
from raftstore.raft.log import CONFIG, PAYLOAD, PAYLOAD_HEAD, Entry, command_is_valid
from raftstore.raft.members import decode_config

_PAYLOAD_BYTES_MIN = PAYLOAD_HEAD.size


def pack_run(entries: Sequence[Entry]) -> bytes:
    """Terms and commands, one msgpack value after the other: they stand for two in an array."""
    first, last = (entries[0][2], entries[-1][2]) if entries else (0, 0)
    # Terms never fall along a log: if the last is the first's, all are.
    terms = first if first == last else [each[2] for each in entries]
    packed: bytes = msgpack.packb(terms) + msgpack.packb([each[0] for each in entries])
    return packed


def entries_of_run(
    terms: int | Sequence[int], commands: Sequence[bytes], first: int
) -> list[Entry]:
    """The entries from index ``first`` on. ValueError if there are not as many terms."""
    if type(terms) is int:
        return list(zip(commands, range(first, first + len(commands)), repeat(terms)))
    assert not isinstance(terms, int)
    return list(zip(commands, range(first, first + len(commands)), terms, strict=True))


def read_run(
    terms: Any, commands: Any, *, prev_index: int, prev_term: int, term: int
) -> tuple[Entry, ...]:
    """Entries of a leader of ``term`` behind a place in its log. Raises DecodeError.

    Terms never fall along a log, and no entry is newer than its leader.
    """
    if type(commands) is not list:
        raise DecodeError("append: wrong shape")
    if type(terms) is list:
        least = prev_term
        for each in terms:
            if type(each) is not int or not least <= each <= term:
                raise DecodeError("append: wrong entry term")
            least = each
    elif type(terms) is not int or (commands and not prev_term <= terms <= term):
        raise DecodeError("append: wrong entry term")
    for command in commands:
        # Nearly all are payloads: looked at in place, for every follower does so with every entry.
        if type(command) is not bytes or not (
            len(command) >= _PAYLOAD_BYTES_MIN and command[0] == PAYLOAD
        ):
            _check(command)
    try:
        return tuple(entries_of_run(terms, commands, prev_index + 1))
    except ValueError:
        raise DecodeError("append: wrong number of terms") from None


def _check(command: Any) -> None:
    if type(command) is not bytes or not command_is_valid(command):
        raise DecodeError("append: wrong command")
    if command[0] == CONFIG:
        decode_config(command[1:])  # what cannot be read must not get into the log
