"""A request's body that is passed on as it comes: read strictly, framed anew, kept while short.

Pure: bytes in, bytes for the next hop out.
"""

from __future__ import annotations

from typing import Protocol

from proxy.http1.body import LAST_CHUNK, Decoder, Framing, chunk


class Kept(Protocol):
    """Whether a body that is sent can be sent again."""

    @property
    def framing(self) -> Framing: ...

    @property
    def repeatable(self) -> bool: ...

    def passed(self, size: int) -> None: ...


class Passing:
    """One body. ``size`` is what of it has come, without its framing."""

    __slots__ = ("_chunked", "_decoder", "_raw", "_replay", "size")

    def __init__(self, head: bytes, replay: Kept) -> None:
        """``replay`` says how much may be kept, and is told what was passed on."""
        self._decoder = Decoder(replay.framing)
        self._chunked = replay.framing.chunked
        self._raw = [head]
        self._replay = replay
        self.size = 0

    @property
    def done(self) -> bool:
        """Whether all of it has come."""
        return self._decoder.done

    def take(self, data: bytes) -> bytes:
        """What goes on of these bytes. Raises HttpViolation for a body that is none."""
        decoder = self._decoder
        piece = decoder.feed(data)
        self.size += len(piece)
        self._keep(data, len(data) - len(decoder.left))
        if not self._chunked:
            return piece
        return chunk(piece) + LAST_CHUNK if decoder.done else chunk(piece)

    def _keep(self, data: bytes, used: int) -> None:
        if not self._raw:
            return
        self._replay.passed(used)
        if self._replay.repeatable:
            self._raw.append(data[:used])
        else:
            self._raw.clear()

    def rest(self) -> bytes:
        """What came after it, once."""
        rest, self._decoder.left = self._decoder.left, b""
        return rest

    def again(self) -> bytes:
        """The request as it came, head and body: to be read once more by somebody else."""
        assert self._replay.repeatable
        return b"".join(self._raw)
