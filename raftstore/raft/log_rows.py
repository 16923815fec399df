"""Entries of the log as rows of a table: one row for each entry, or one for a run of them.

A batch of some dozen small entries is one row, since what a row costs is hardly its bytes: each is
a checksum, a search in the tree, and one more time that the disk's thread has to wait for the
interpreter. A row's key is the index of its first entry. Its value is a CRC-32 over key and rest,
then a byte that tells the two shapes apart:

- 0, and seven more bytes that make a term of it, then the command: one entry;
- 1, the number of entries, then their terms and their commands (``entry_runs``).

Pure: the table is the journal's.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import msgpack

from raftstore.raft.entry_runs import entries_of_run, pack_run
from raftstore.raft.log import Entry

KEY = struct.Struct(">Q")
ONE = struct.Struct(">IQ")  # crc, term
RUN = struct.Struct(">IBI")  # crc, shape, count
_RUN_SHAPE = 1
_CRC_BYTES = 4
_ARRAY_OF_TWO = b"\x92"
ROW_ENTRIES_MAX = 512
"""Entries of a row. What looks for one of them reads all."""
ROW_BYTES_MAX = 64 * 1024
"""Bytes of the commands in a row of more than one entry: LMDB wants so many pages side by side."""

Row = tuple[bytes, bytes]
"""Key and value."""


class DamagedRow(Exception):
    """A row is not what was written; the text says which and why."""


def rows_of(entries: Sequence[Entry]) -> list[Row]:
    """Rows for entries that follow each other, in order."""
    rows: list[Row] = []
    begun = size = 0
    for position, entry in enumerate(entries):
        size += len(entry[0])
        if position - begun == ROW_ENTRIES_MAX or (size > ROW_BYTES_MAX and position > begun):
            rows.append(_row(entries[begun:position]))
            begun, size = position, len(entry[0])
    if entries:
        rows.append(_row(entries[begun:]))
    return rows


def _row(entries: Sequence[Entry]) -> Row:
    command, index, term = entries[0]
    key = KEY.pack(index)
    if len(entries) == 1:
        rest = term.to_bytes(8, "big") + command
    else:
        head = bytes((_RUN_SHAPE,)) + len(entries).to_bytes(4, "big")
        rest = head + _ARRAY_OF_TWO + pack_run(entries)
    return key, zlib.crc32(rest, zlib.crc32(key)).to_bytes(_CRC_BYTES, "big") + rest


def entries_of(key: bytes, value: bytes) -> list[Entry]:
    """The entries of a row, at least one. Raises DamagedRow."""
    if len(key) != KEY.size or len(value) < ONE.size:
        raise DamagedRow("a record has the wrong size")
    index: int = KEY.unpack(key)[0]
    if zlib.crc32(value[_CRC_BYTES:], zlib.crc32(key)) != int.from_bytes(value[:_CRC_BYTES], "big"):
        raise DamagedRow(f"entry {index}{_and_more(value)}: checksum differs")
    if value[_CRC_BYTES] != _RUN_SHAPE:
        if len(value) == ONE.size:
            raise DamagedRow(f"entry {index}: a record has the wrong size")
        return [(value[ONE.size :], index, ONE.unpack_from(value)[1])]
    try:
        terms, commands = msgpack.unpackb(value[RUN.size :])
        entries = entries_of_run(terms, commands, index)
    except (ValueError, TypeError) as error:  # written so by us: the checksum is right
        raise DamagedRow(f"entry {index} and more: {error}") from None
    if not entries or len(entries) != RUN.unpack_from(value)[2]:
        raise DamagedRow(f"entry {index} and more: wrong number of entries")
    return entries


def last_of(key: bytes, value: bytes) -> int:
    """Index of the last entry of a row, without a look at the entries."""
    index: int = KEY.unpack(key)[0]
    if value[_CRC_BYTES] != _RUN_SHAPE:
        return index
    return index + int(RUN.unpack_from(value)[2]) - 1


def _and_more(value: bytes) -> str:
    return " and more" if value[_CRC_BYTES] == _RUN_SHAPE else ""
