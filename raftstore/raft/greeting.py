"""The third word of an introduction: proof that the hello was heard on this very connection.

Each side puts a fresh number into its hello and takes the other's word only when that number has
come back, so a stream that was recorded earlier opens nothing when it is played again.
"""

from __future__ import annotations

import msgpack

from raftstore.errors import DecodeError
from raftstore.raft.frames import LENGTH
from raftstore.raft.lost_disk import NUMBER_MAX

CONFIRM = 30
"""The number of the frame, from the same list as those in ``frames``."""


def encode_confirm(nonce: int) -> bytes:
    """The other side's number, sent back; with the length in front."""
    body: bytes = msgpack.packb([CONFIRM, nonce])
    return LENGTH.pack(len(body)) + body


def decode_confirm(body: bytes) -> int:
    """The number that came back. Raises DecodeError."""
    try:
        items = msgpack.unpackb(body, max_array_len=2, max_map_len=0, max_ext_len=0)
    except Exception as error:  # msgpack raises many kinds; all mean the same to us
        raise DecodeError(f"no msgpack: {type(error).__name__}") from error
    if type(items) is not list or len(items) != 2 or items[0] != CONFIRM:
        raise DecodeError("expected a confirmation")
    nonce = items[1]
    if type(nonce) is not int or not 0 <= nonce <= NUMBER_MAX:
        raise DecodeError("expected a number")
    return nonce
