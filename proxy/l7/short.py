"""The short way of a plain request: no coroutine from its head to the end of its answer.

A GET or HEAD that needs no waiting, because what there is to decide can be decided and a connection
to its host is at hand, is written on in the turn of the loop in which it came, and its answer is
passed on as it comes. All else is left untouched to the long way (``serve``), which alone knows of
bodies, new connections, second tries, tokens and upgrades. Both ways decide by the same code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from proxy.errors import HttpViolation
from proxy.http1 import body as framing
from proxy.http1 import forward
from proxy.http1.body import LAST_CHUNK, Decoder, chunk
from proxy.http1.head import Request, Response, end_of_head, read_request, read_response
from proxy.l7.limits import HttpLimits
from proxy.l7.messages import own_answer
from proxy.l7.pipe import Pipe
from proxy.l7.retries import Failure
from proxy.telemetry.entry import CLIENT_GONE, UPSTREAM_RESET, Notes
from proxy.telemetry.observer import Hop, Observer, Watch

_KEPT = frozenset({None, "keep-alive", "Keep-Alive"})


class Plan(Protocol):
    """A request that may begin: what to send where, and what its end means.

    Whatever happens, exactly one of ``over`` and ``leave`` is called, once.
    """

    pipe: Pipe
    raw: bytes
    #: Until the head of the answer; 0 for any time.
    timeout_s: float

    def answered(self, head: Response) -> bool:
        """The head of the answer has come; False when the long way has another try instead."""
        ...

    def headers(self, head: Response) -> Sequence[tuple[str, str]]:
        """The headers of the answer as they are passed on."""
        ...

    def failed(self, failure: Failure) -> tuple[int, str] | None:
        """There is no answer: what to say instead, or None when the long way goes on."""
        ...

    def over(self, *, whole: bool) -> None:
        """The request has ended. ``whole``: its connection can be used again."""
        ...

    def leave(self) -> None:
        """The request has not happened; the long way takes it up."""
        ...


#: Makes a plan of a request; None leaves it to the long way.
Planner = Callable[[Request, Notes], Plan | None]


def plain(request: Request) -> bool:
    """Whether a request has nothing but a head, and its connection goes on after it."""
    values = request.by_name
    return (
        request.minor == 1
        and values.get("connection") in _KEPT
        and "expect" not in values
        and "upgrade" not in values
        and framing.of_request(request).empty
    )


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
    ) -> None:
        """``leaving``: whether answers must say that the connection ends."""
        self.down = down
        self.limits = limits
        self._plan = plan
        self._observer = observer
        self._hop = hop
        self._leaving = leaving
        self._under_way: _Exchange | None = None

    def take(self, data: bytes) -> bool:
        """Bytes of the client. False leaves them to the long way."""
        down = self.down
        if not down.between or down.held_up or down.has_more:
            return False
        if not down.open or not down.writable or self._leaving():
            return False
        if data[:4] not in (b"GET ", b"HEAD") or data.find(b"\r\n\r\n") != len(data) - 4:
            return False
        try:
            end_of_head(data)
            request = read_request(data)
            if request.method not in ("GET", "HEAD") or not plain(request):
                return False
            notes = Notes()
            watch = self._observer.begin(request, self._hop, notes)
            plan = self._plan(watch.request, notes)
        except HttpViolation:
            return False  # the long way finds it again, and says so
        if plan is None:
            return False
        down.held_up = True
        self._observer.short += 1
        self._under_way = _Exchange(self, data, watch, plan)
        self._under_way.begin()
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


class _Exchange:
    """One request under way. Takes what its host sends; the client's servant."""

    __slots__ = (
        "_buffer", "_chunks", "_data", "_decoder", "_done", "_held", "_loop", "_plan", "_status",
        "_timer", "_touched_at", "_up", "_watch", "_way", "_whole",
    )  # fmt: skip

    def __init__(self, way: ShortWay, data: bytes, watch: Watch, plan: Plan) -> None:
        self._way = way
        self._data = data
        self._watch = watch
        self._plan = plan
        self._up = plan.pipe
        self._buffer = b""
        self._decoder: Decoder | None = None
        self._chunks = False
        self._status = 0
        self._whole = False
        self._held = False
        self._done = False
        self._loop = asyncio.get_running_loop()
        self._touched_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Send the request."""
        self._way.down.servant = self
        self._up.taker = self
        if self._plan.timeout_s:
            self._timer = self._loop.call_later(self._plan.timeout_s, self._late)
        self._up.push(self._plan.raw)

    # What the host sends.

    def take(self, data: bytes) -> bool:
        """Bytes of the host."""
        try:
            if self._decoder is None:
                self._heads(self._buffer + data if self._buffer else data)
            else:
                self._pass_on(b"", data)
        except HttpViolation:
            if self._decoder is None:
                self._fail(Failure(status=502))
            else:
                self._break_off()
        return True

    def ended(self) -> None:
        """The host sends no more."""
        if self._done:
            return
        if self._decoder is None:
            self._fail(Failure(reset=True))
            return
        try:
            self._decoder.end()
            complete = not self._up.gone
        except HttpViolation:
            complete = False
        if not complete:
            self._break_off()
        else:
            self._way.down.push(LAST_CHUNK if self._chunks else b"")
            self._end(whole=False)

    def paused(self) -> None:
        """The host takes no more: a request is short, so nothing waits."""

    def resumed(self) -> None:
        """As ``paused``."""

    def _heads(self, buffer: bytes) -> None:
        """Look for the head of the final answer."""
        while True:
            end = end_of_head(buffer)
            if end < 0:
                self._buffer = buffer
                return
            head = read_response(buffer[:end])
            if head.status == 101:
                raise HttpViolation(502, "nobody asked for another protocol")
            if head.status >= 200:
                break
            buffer = buffer[end:]  # interim
        frame = framing.of_response(head, to_method=self._watch.given.method)
        if not self._plan.answered(head):
            self._leave()
            return
        self._watch.notes.answered()
        self._status, self._decoder = head.status, Decoder(frame)
        self._chunks = frame.chunked or frame.until_close
        words = (head.get("connection") or "").lower()
        self._whole = not frame.until_close and head.minor >= 1 and "close" not in words
        raw = forward.response_bytes(head, self._plan.headers(head), frame, close=False)
        self._pass_on(raw, buffer[end:])
        if not self._done:  # more is to come: the clock runs from piece to piece now
            self._stop_clock()
            self._timer = self._loop.call_later(self._way.limits.body_idle_s, self._late)

    def _pass_on(self, raw: bytes, data: bytes) -> None:
        decoder = self._decoder
        assert decoder is not None
        piece = decoder.feed(data) if data else b""
        self._watch.notes.tx_bytes += len(piece)
        raw += chunk(piece) if self._chunks else piece
        if decoder.done and self._chunks:
            raw += LAST_CHUNK
        self._way.down.push(raw)
        if decoder.done:
            self._end(whole=self._whole and not decoder.left)
        else:
            self._touched_at = self._loop.time()

    def _late(self) -> None:
        """The host has taken its time, or the client has."""
        self._timer = None
        if self._decoder is None:
            self._fail(Failure(timed_out=True))
            return
        left_s = self._touched_at + self._way.limits.body_idle_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._late)
        else:
            self._break_off()

    def hold_back(self, held: bool) -> None:
        """Let the host wait while the client takes no more."""
        self._held = held
        self._up.hold_back(held)

    # Ends.

    def abort(self) -> None:
        """The client is gone."""
        if not self._done:
            self._watch.notes.flag(CLIENT_GONE)
            self._end(whole=False)

    def _fail(self, failure: Failure) -> None:
        """No answer came."""
        told = self._plan.failed(failure)
        if told is None:
            self._leave()
            return
        status, text = told
        body = b"" if self._watch.given.method == "HEAD" else text.encode()
        self._watch.notes.answered()
        self._watch.notes.tx_bytes += len(body)
        self._status = status
        self._way.down.push(own_answer(status, text, close=False) + body)
        self._end(whole=False)

    def _break_off(self) -> None:
        """The answer has begun and cannot be completed: the client must see that."""
        self._watch.notes.flag(UPSTREAM_RESET)
        if self._release():
            self._way.down.cut("upstream_reset")
            self._plan.over(whole=False)
            self._watch.over(self._status)

    def _leave(self) -> None:
        """The long way takes the request up, as if it had just come."""
        if self._release():
            self._plan.leave()
            self._way.down.leave_to_coroutine(self._data)

    def _end(self, *, whole: bool) -> None:
        if self._release():
            self._plan.over(whole=whole)
            self._watch.over(self._status)
            self._way.down.served(self._loop.time())

    def _release(self) -> bool:
        """Nobody calls this any more; whether that is news."""
        if self._done:
            return False
        self._done = True
        self._stop_clock()
        self._up.taker = None
        if self._held:
            self._up.hold_back(False)
        self._way.down.servant = None
        self._way.free()
        return True

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
