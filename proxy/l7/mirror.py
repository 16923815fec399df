"""Copies of requests to another upstream, whose answers are thrown away.

A copy is sent once the request itself has been answered, marked by a header, to one host and once:
nothing that happens to it can be felt by whoever asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.http1.body import Framing
from proxy.http1.head import Headers, Response
from proxy.l7.messages import Servant
from proxy.telemetry.entry import Notes

MARK = ("X-Lictor-Mirror", "true")
#: Copies of one upstream that may be under way; more are left out and counted.
COPIES_MAX = 64


class Nobody:
    """Whose request a copy is."""

    servant: Servant | None = None
    gone = False


class CopiedBody:
    """A body that was read before."""

    def __init__(self, pieces: Sequence[bytes], framing: Framing, trailers: Headers) -> None:
        self.framing = framing
        self.trailers = trailers
        self.size = 0
        self.client = Nobody()
        self._pieces = list(pieces)

    @property
    def done(self) -> bool:
        return not self._pieces

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


class Nowhere:
    """Takes an answer and throws it away."""

    keep = True
    begun = False
    status = 0
    notes = Notes()
    grpc_status = ""

    async def begin(
        self, head: Response, headers: Sequence[tuple[str, str]], framing: Framing
    ) -> None:
        self.begun, self.status = True, head.status

    async def send(self, data: bytes) -> None:
        pass

    async def end(self, trailers: Headers = ()) -> None:
        pass

    async def whole(self, status: int, text: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.begun, self.status = True, status
