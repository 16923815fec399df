"""An archive that is being restored: taken part by part, and put in force as a whole or not at all.

A part is a slice of the archive's stream, compressed by itself; the stream is chunks (snapshots.py)
with their lengths in front. Every server fills a state of its own beside the one in force while the
parts come, so the step that puts it in force has nothing left to do. The parts are kept as well:
they are what snapshots carry, and a server that starts from one fills its state from them again.

Pure, and the same everywhere: what makes a part unusable here makes it unusable on every server.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from raftstore.codec import codec_for
from raftstore.errors import DecodeError
from raftstore.records import Restored
from raftstore.state import snapshots
from raftstore.state.whole import State

#: In front of each chunk of the stream; zero ends it.
LENGTH = struct.Struct(">I")
#: Bytes of one part, unpacked: loading so much takes a few milliseconds at most.
PART_BYTES_MAX = 32 * 1024
#: What is sent as one: 16 KiB of small services take 5 ms to load.
PART_BYTES = 16 * 1024

_RESTORED = codec_for(Restored)


class Staging:
    """One archive on its way. After a DecodeError it is worth nothing."""

    __slots__ = ("_ended", "_hash", "_loading", "_pending", "about", "parts", "state", "touched_at")

    def __init__(self, about: Restored, state: State) -> None:
        """``state`` is empty, and filled here."""
        self.about = about
        self.state = state
        self.parts: list[bytes] = []
        #: Replicated time of the last part.
        self.touched_at = about.begun_at
        self._loading = snapshots.Loading(state, renumber_to=about.begun_index)
        self._hash = hashlib.sha256()
        self._pending = bytearray()
        self._ended = False

    def add(self, data: bytes) -> None:
        """Take the next part. Raises DecodeError."""
        raw = unpacked(data)
        self._hash.update(raw)
        self.parts.append(data)
        self.about = replace(
            self.about, parts=len(self.parts), staged_bytes=self.about.staged_bytes + len(data)
        )
        pending = self._pending
        pending += raw
        start = 0
        while len(pending) - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(pending, start)
            if self._ended:
                raise DecodeError("something follows the end of the archive")
            if length > snapshots.CHUNK_BYTES_MAX:
                raise DecodeError("a chunk of the archive is too large")
            end = start + LENGTH.size + length
            if len(pending) < end:
                break
            if length:
                self._loading.feed_bytes(bytes(memoryview(pending)[start + LENGTH.size : end]))
            else:
                self._loading.finish()
                self._ended = True
            start = end
        del pending[:start]

    def problem(self, parts: int, sha256: bytes) -> str:
        """Why this is not the whole archive; "" if it is."""
        if parts != len(self.parts):
            return f"{parts} parts were sent and {len(self.parts)} have arrived"
        if sha256 != self._hash.digest():
            return "the checksum of the whole differs"
        if not self._ended or self._pending:
            return "the archive ends too early"
        return ""

    # -- snapshots

    def rows(self) -> list[Any]:
        """What it is, then its parts."""
        return [[_RESTORED.to_plain(replace(self.about, parts=0, staged_bytes=0)), self.touched_at],
                *self.parts]  # fmt: skip

    @classmethod
    def begin(cls, row: Any, state: State) -> Staging:
        """From the first of ``rows``; the others follow by ``add``. Raises DecodeError."""
        plain, touched_at = row
        staging = cls(_RESTORED.from_plain(plain), state)
        staging.touched_at = float(touched_at)
        return staging

    def check(self) -> None:
        """Assert what only our own bug can break."""
        assert self.about.parts == len(self.parts)
        assert self.about.staged_bytes == sum(map(len, self.parts))


def unpacked(data: bytes) -> bytes:
    """One part of the stream. Raises DecodeError."""
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(data, PART_BYTES_MAX)
    except zlib.error as error:
        raise DecodeError(f"a part of the archive is damaged: {error}") from None
    if not raw or not unpacker.eof or unpacker.unused_data:
        raise DecodeError("a part of the archive is damaged: too large, or cut short")
    return raw


def parts(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """A stream of chunks, cut into parts: (as it is, compressed)."""
    held = bytearray()
    for chunk in chunks:
        held += LENGTH.pack(len(chunk)) + chunk
        while len(held) >= PART_BYTES:
            raw = bytes(memoryview(held)[:PART_BYTES])
            del held[:PART_BYTES]
            yield raw, zlib.compress(raw, 1)
    held += LENGTH.pack(0)
    while held:
        raw = bytes(memoryview(held)[:PART_BYTES])
        del held[:PART_BYTES]
        yield raw, zlib.compress(raw, 1)
