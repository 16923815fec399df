"""Frames as they come in, counted: nobody keeps us busy with nothing (contract D.5, 14).

Pure; ``now`` is given. Looks at the heads of frames only (RFC 9113, section 4.1). GOAWAY is taken
out of the bytes: whoever sends it lets the streams that it has taken finish, and the codec behind
would end them all.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from proxy.errors import ProxyError
from proxy.http2.bounds import Rates

HEAD_BYTES = 9
PREFACE_BYTES = 24
FRAME_MAX_BYTES = 16_384
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0x0, 0x1, 0x2, 0x3, 0x4
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0x6, 0x7, 0x8, 0x9
#: Frames that are looked at in one go: hundreds of small ones fit into one read, and each may
#: cost a tenth of a millisecond and more in the codec and behind it.
FRAMES_AT_ONCE = 8
_ACK = 0x1
_CONTROL = frozenset({PRIORITY, SETTINGS, PING})
ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR = 0xB, 0x6


class Flood(ProxyError):
    """The peer does too much of what costs it nothing; ``code`` is for GOAWAY."""

    def __init__(self, text: str, code: int = ENHANCE_YOUR_CALM) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class GoAway:
    """The peer takes no new streams; those above ``last_stream_id`` it has not looked at."""

    last_stream_id: int
    code: int


class Screen:
    """Looks at one direction of one connection."""

    def __init__(self, rates: Rates, *, preface: bool) -> None:
        self._rates = rates
        self._skip = PREFACE_BYTES if preface else 0
        self._held = b""
        self._left = 0
        self._goaway_left = -1
        self._resets: deque[float] = deque()
        self._controls: deque[float] = deque()
        self._block = 0
        self.goaway: GoAway | None = None
        #: Frames are left for another call, with or without new bytes.
        self.more = False

    def feed(self, data: bytes, now: float) -> bytes:
        """What the codec is to see of FRAMES_AT_ONCE frames, and of a reset after them; ``more``
        says whether there are others. A GOAWAY that came is in ``goaway``. Raises Flood."""
        self.more = False
        if self._skip:
            skipped = data[: self._skip]
            self._skip -= len(skipped)
            return skipped + self.feed(data[len(skipped) :], now) if not self._skip else skipped
        if self._left >= len(data) and not self._held and self._goaway_left < 0:
            self._left -= len(data)
            return data
        data, self._held = self._held + data, b""
        passed: list[bytes] = []
        at = frames = 0
        while at < len(data):
            if self._left:
                end = min(at + self._left, len(data))
                passed.append(data[at:end])
                self._left -= end - at
                at = end
                continue
            if len(data) - at < HEAD_BYTES:
                break
            # A stream that is given up as it is opened begins nothing only while both are seen at
            # once, so a reset goes with what is before it.
            if frames > FRAMES_AT_ONCE or (frames == FRAMES_AT_ONCE and data[at + 3] != RST_STREAM):
                self.more = True
                break
            frames += 1
            size = int.from_bytes(data[at : at + 3])
            if data[at + 3] == GOAWAY:
                if size > FRAME_MAX_BYTES or size < 8:
                    raise Flood("bad GOAWAY", FRAME_SIZE_ERROR)
                if len(data) - at < HEAD_BYTES + size:
                    break
                self._take_goaway(data[at + HEAD_BYTES : at + HEAD_BYTES + 8])
                at += HEAD_BYTES + size
                continue
            self._count(data[at + 3], data[at + 4], size, now)
            passed.append(data[at : at + HEAD_BYTES])
            at += HEAD_BYTES
            self._left = size
        self._held = data[at:]
        return b"".join(passed)

    def _take_goaway(self, payload: bytes) -> None:
        last = int.from_bytes(payload[:4]) & 0x7FFFFFFF
        self.goaway = GoAway(last, int.from_bytes(payload[4:8]))

    def _count(self, kind: int, flags: int, size: int, now: float) -> None:
        if kind == CONTINUATION:
            self._block += size
            if self._block > self._rates.continuation_max_bytes:
                raise Flood("headers go on for too long")
            if not size:
                self._often(self._controls, self._rates.controls_max, now, "empty CONTINUATION")
            return
        if kind == HEADERS:
            self._block = size
            self._controls.clear()
        elif kind == DATA and size:
            self._controls.clear()
        elif kind == RST_STREAM:
            self._often(self._resets, self._rates.resets_max, now, "resets of streams")
        elif kind == DATA or (kind in _CONTROL and not flags & _ACK) or kind > CONTINUATION:
            self._often(self._controls, self._rates.controls_max, now, "control frames")

    def _often(self, times: deque[float], most: int, now: float, what: str) -> None:
        times.append(now)
        while times[0] < now - self._rates.window_s:
            times.popleft()
        if len(times) > most:
            raise Flood(f"too many {what}")
