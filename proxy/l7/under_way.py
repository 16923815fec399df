"""The requests of one connection that are not over: decided anew when the rules change.

Pure but for what it is given: each request comes with a way to end it after a time, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from proxy.http1.head import Request
from proxy.telemetry.entry import Notes


class Ending(Protocol):
    """Ends a request after so many seconds; None takes that back."""

    def __call__(self, after_s: float | None, /) -> None: ...


class Limit(Protocol):
    """Ends what stands inside of it when its time has come (asyncio.Timeout)."""

    async def __aenter__(self) -> Limit: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> bool | None: ...
    def reschedule(self, when: float | None) -> None: ...
    def expired(self) -> bool: ...


#: Calls something after so many seconds.
Later = Callable[[float, Callable[[], None]], object]


class UnderWay:
    """Which they are."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[object, tuple[Request, Ending, Notes]] = {}

    @property
    def idle(self) -> bool:
        """Whether there are none."""
        return not self._open

    def begin(self, request: Request, ending: Ending, notes: Notes) -> object:
        """A request begins; gives what `end` wants."""
        key = object()
        self._open[key] = (request, ending, notes)
        return key

    def flag(self, word: str) -> None:
        """This happens to all of them."""
        for _, _, notes in self._open.values():
            notes.flag(word)

    def end(self, key: object) -> None:
        """It is over."""
        self._open.pop(key, None)

    def decide(
        self, allowed: Callable[[Request], bool], *, stream_s: float, request_s: float
    ) -> int:
        """End those that would not be let in any more: streams soon, others when they have had
        time to finish. How many there are."""
        denied = 0
        for request, ending, _ in list(self._open.values()):
            if allowed(request):
                ending(None)
                continue
            denied += 1
            ending(stream_s if is_stream(request) else request_s)
        return denied


def is_stream(request: Request) -> bool:
    """Whether a request may last as long as it likes: gRPC, and what switches protocols."""
    kind, words = request.get("content-type") or "", (request.get("connection") or "").lower()
    switches = request.get("upgrade") is not None and "upgrade" in words
    return switches or kind.lower().startswith("application/grpc")
