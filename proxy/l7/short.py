"""The short way of a plain request: no coroutine from its head to the end of its answer.

A request that needs no waiting, because what there is to decide can be decided and a connection to
its host is at hand, is written on in the turn of the loop in which it came; its body is passed on
as it comes, and so is its answer. All else is left untouched to the long way (``serve``), which
alone knows of new connections, second tries, tokens and upgrades. Both ways decide by the same
code.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.errors import HttpViolation
from proxy.http1 import body as framing
from proxy.http1.body import Framing
from proxy.http1.head import Request, end_of_head, read_request
from proxy.l7.limits import HttpLimits
from proxy.l7.messages import NoBody
from proxy.l7.passing import Passing
from proxy.l7.pipe import Pipe
from proxy.l7.relaying import Replay
from proxy.l7.short_exchange import Exchange, Plan
from proxy.telemetry.entry import Notes
from proxy.telemetry.observer import Hop, Observer

_KEPT = frozenset({None, "keep-alive", "Keep-Alive"})
#: What a client says whose connection ends with the answer (RFC 9112, section 9.6).
_LAST = frozenset({"close", "Close"})
#: Makes a plan of a request with this body; None leaves it to the long way.
Planner = Callable[[Request, Notes, Replay], Plan | None]


def plain(request: Request) -> Framing | None:
    """The framing of a request that wants nothing special, None for any other. Raises
    HttpViolation."""
    values = request.by_name
    connection = values.get("connection")
    if (
        request.minor != 1
        or not (connection in _KEPT or connection in _LAST)
        or "expect" in values
        or "upgrade" in values
    ):
        return None
    return framing.of_request(request)


class ShortWay:
    """The short way of one connection: takes the requests that can go it."""

    def __init__(
        self,
        down: Pipe,
        plan: Planner,
        observer: Observer,
        hop: Hop,
        limits: HttpLimits,
        leaving: Callable[[], bool],
        on_violation: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``leaving``: whether answers must say that the connection ends."""
        self.down = down
        self.limits = limits
        self.on_violation = on_violation
        self._plan = plan
        self._observer = observer
        self._hop = hop
        self._leaving = leaving
        self._nothing = Replay(NoBody(down))
        self._under_way: Exchange | None = None

    def take(self, data: bytes) -> bool:
        """Bytes of the client. False leaves them to the long way."""
        if self._under_way is not None:
            return self._under_way.more(data)
        down = self.down
        if not down.between or down.held_up or down.has_more:
            return False
        if not down.open or not down.writable or self._leaving():
            return False
        try:
            return self._begin(data)
        except HttpViolation:
            return False  # the long way finds it again, and says so

    def _begin(self, data: bytes) -> bool:
        end = end_of_head(data)
        if end < 0:
            return False
        head, rest = (data, b"") if end == len(data) else (data[:end], data[end:])
        request = read_request(head)
        frame = plain(request)
        if frame is None:
            return False
        replay, passing, first = self._nothing, None, b""
        if not frame.empty:
            replay = Replay(NoBody(self.down, frame))
            passing = Passing(head, replay)
            first, rest = passing.take(rest), passing.rest()
        notes = Notes()
        watch = self._observer.begin(request, self._hop, notes)
        plan = self._plan(watch.request, notes, replay)
        if plan is None:
            return False
        self.down.held_up = True
        if rest:
            self.down.give_back(rest)
        self._observer.short += 1
        last = request.by_name.get("connection") in _LAST
        self._under_way = Exchange(self, head, passing, watch, plan, last=last)
        self._under_way.begin(first)
        return True

    def ended(self) -> None:
        """The exchange hears of it as the client's servant."""

    def paused(self) -> None:
        """The client takes no more for now."""
        if self._under_way is not None:
            self._under_way.hold_back(True)

    def resumed(self) -> None:
        """The client takes more again."""
        if self._under_way is not None:
            self._under_way.hold_back(False)

    def free(self) -> None:
        """The request is no more under way here."""
        self._under_way = None
