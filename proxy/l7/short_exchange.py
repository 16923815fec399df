"""One request on the short way: what its client, its host and the clock do to it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Protocol

from proxy.errors import HttpViolation
from proxy.http1 import forward
from proxy.http1.body import LAST_CHUNK, Decoder, Framing, chunk
from proxy.http1.head import Response, end_of_head
from proxy.l7 import answers
from proxy.l7.limits import HttpLimits
from proxy.l7.messages import own_answer
from proxy.l7.pace import Pace
from proxy.l7.passing import Passing
from proxy.l7.pipe import Pipe
from proxy.l7.retries import Failure
from proxy.telemetry.entry import BAD_REQUEST, IDLE, UPSTREAM_RESET
from proxy.telemetry.observer import Watch

#: Timers of the loop may come a little early.
_EARLY_S = 0.002


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

    def headers(self, head: Response) -> Sequence[tuple[str, str]] | None:
        """The headers of the answer as they are passed on; None where nobody changes them."""
        ...

    def failed(self, failure: Failure) -> tuple[int, str] | None:
        """There is no answer: what to say instead, or None when the long way goes on (only while
        the body can be sent again)."""
        ...

    def over(self, *, whole: bool, by_client: bool = False) -> None:
        """The request has ended. ``whole``: its connection can be used again; ``by_client``: by a
        fault of the client, for which the host is not to blame."""
        ...

    def leave(self) -> None:
        """The request has not happened; the long way takes it up."""
        ...


class Way(Protocol):
    """The short way that an exchange belongs to."""

    down: Pipe
    limits: HttpLimits
    on_violation: Callable[[str], None]

    def free(self) -> None:
        """The request is no more under way here."""
        ...


class Exchange:
    """One request under way. Takes what its host sends; the client's servant."""

    __slots__ = (
        "_answer_by", "_buffer", "_chunks", "_decoder", "_done", "_drain_left", "_head", "_held",
        "_holds", "_last", "_loop", "_pace", "_passing", "_plan", "_status", "_timer",
        "_touched_at", "_up", "_watch", "_way", "_whole",
    )  # fmt: skip

    def __init__(
        self, way: Way, head: bytes, passing: Passing | None, watch: Watch, plan: Plan,
        *, last: bool = False,
    ) -> None:  # fmt: skip
        """``head`` is as it came; ``passing`` the body, None where there is none; ``last``: the
        client wants its connection to end with the answer."""
        self._way = way
        self._last = last
        self._head = head
        self._passing = passing
        self._watch = watch
        self._plan = plan
        self._up = plan.pipe
        self._buffer = b""
        self._decoder: Decoder | None = None
        self._chunks = False
        self._status = 0
        self._whole = False
        self._done = False
        #: Whether the host waits for the client, and the client for the host.
        self._held = False
        self._holds = False
        self._loop = asyncio.get_running_loop()
        self._answer_by = math.inf
        self._touched_at = 0.0
        self._pace = None if passing is None else Pace(way.limits)
        self._drain_left = way.limits.drain_bytes
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, first: bytes) -> None:
        """Send the request, with what of its body has come."""
        self._way.down.servant = self
        self._up.taker = self
        plan, wait_s = self._plan, self._plan.timeout_s
        if self._comes:
            self._touched_at = now = self._loop.time()
            self._answer_by = now + wait_s if wait_s else math.inf
            idle_s = self._way.limits.body_idle_s
            wait_s = min(wait_s or idle_s, idle_s)
        if wait_s:
            self._timer = self._loop.call_later(wait_s, self._late)
        self._up.push(plan.raw + first if first else plan.raw)
        if not self._up.writable:
            self.paused()

    @property
    def _comes(self) -> bool:
        """Whether more of the request is to come."""
        return self._passing is not None and not self._passing.done

    # What the client sends.

    def more(self, data: bytes) -> bool:
        """Bytes of the client; False when they are no part of this request."""
        passing = self._passing
        if passing is None or passing.done:
            return False
        now = self._loop.time()
        waited_s = 0.0 if self._holds else now - self._touched_at
        if self._pace is not None and self._pace.too_slow(len(data), waited_s):
            self._broke_rules(HttpViolation(408, "the body came too slowly"))
            return True
        self._touched_at = now
        try:
            piece = passing.take(data)
        except HttpViolation as error:
            self._broke_rules(error)
            return True
        self._up.push(piece)
        answered = self._decoder is not None and self._decoder.done
        if not self._comes:
            rest = passing.rest()
            if rest:
                self._way.down.give_back(rest)
            self._let_client_go()
            if answered:
                self._end(whole=self._whole)
        elif answered:
            self._drain_left -= len(data)
            if self._drain_left < 0:
                self._close()
        return True

    # What the host sends.

    def take(self, data: bytes) -> bool:
        """Bytes of the host."""
        try:
            if self._decoder is None:
                self._heads(self._buffer + data if self._buffer else data)
            elif self._decoder.done:
                self._close()  # bytes that nobody asked for
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
        if self._decoder.done:
            self._close()
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
            self._answered_all(whole=False)

    def paused(self) -> None:
        """The host takes no more: the client waits."""
        if self._comes and not self._holds:
            self._holds = True
            self._way.down.hold_back(True)

    def resumed(self) -> None:
        """The host takes more again."""
        self._let_client_go()

    def _let_client_go(self) -> None:
        if self._holds:
            self._holds = False
            self._touched_at = self._loop.time()
            self._way.down.hold_back(False)

    def _heads(self, buffer: bytes) -> None:
        """Look for the head of the final answer."""
        while True:
            end = end_of_head(buffer)
            if end < 0:
                self._buffer = buffer
                return
            answered = answers.read(buffer[:end])
            head = answered.head
            if head.status == 101:
                raise HttpViolation(502, "nobody asked for another protocol")
            if head.status >= 200:
                break
            buffer = buffer[end:]  # interim
        if not self._plan.answered(head):
            self._leave()
            return
        self._watch.notes.answered()
        changed, frame = self._plan.headers(head), answered.framing
        raw = answered.onward
        to_head = self._watch.given.method == "HEAD"
        if to_head or changed is not None:
            frame = Framing() if to_head else frame
            headers = forward.onward(head) if changed is None else changed
            raw = forward.response_bytes(head, headers, frame, close=False)
        if self._last:
            raw = answers.closing(raw)
        self._status, self._decoder = head.status, Decoder(frame)
        self._chunks = frame.chunked or frame.until_close
        self._whole = answered.whole or (to_head and _goes_on(head))
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
            self._answered_all(whole=self._whole and not decoder.left)
        else:
            self._touched_at = self._loop.time()

    def _answered_all(self, *, whole: bool) -> None:
        """The answer is complete. What is still to come of the request is let pass, if that is
        not much: then both connections can go on."""
        if not self._comes:
            self._end(whole=whole)
        elif whole:
            self._touched_at = self._loop.time()
        else:
            self._close()

    # The clock.

    def _late(self) -> None:
        """The host has taken its time, or the client has."""
        self._timer = None
        now = self._loop.time() + _EARLY_S
        idle_at = self._touched_at + self._way.limits.body_idle_s
        if self._decoder is None:
            if not self._comes:
                idle_at = math.inf
            if self._passing is None or self._answer_by <= now or (idle_at <= now and self._holds):
                self._fail(Failure(timed_out=True))
                return
            if idle_at <= now:
                self._broke_rules(HttpViolation(408, "the body came too slowly"))
                return
            idle_at = min(idle_at, self._answer_by)
        elif idle_at <= now:
            if self._decoder.done:
                self._close()
            else:
                self._break_off(IDLE)
            return
        if idle_at != math.inf:
            self._timer = self._loop.call_later(idle_at - now + _EARLY_S, self._late)

    def hold_back(self, held: bool) -> None:
        """Let the host wait while the client takes no more."""
        self._held = held
        self._up.hold_back(held)

    # Ends.

    def abort(self) -> None:
        """The client is gone."""
        if not self._done:
            self._watch.notes.client_gone()
            self._end(whole=False)

    def _fail(self, failure: Failure) -> None:
        """No answer came."""
        told = self._plan.failed(failure)
        if told is None:
            self._leave()
            return
        self._say(*told)
        if self._comes:
            self._close()
        else:
            self._end(whole=False)

    def _broke_rules(self, error: HttpViolation) -> None:
        """The client's body is none, or does not come."""
        self._way.on_violation(str(error))
        self._watch.notes.flag(IDLE if error.status == 408 else BAD_REQUEST)
        if self._decoder is not None:
            self._cut(by_client=True)
            return
        self._say(error.status, str(error))
        self._close(by_client=True)

    def _say(self, status: int, text: str) -> None:
        """An answer of our own."""
        body = b"" if self._watch.given.method == "HEAD" else text.encode()
        self._watch.notes.answered()
        self._watch.notes.tx_bytes += len(body)
        self._status = status
        self._way.down.push(own_answer(status, text, close=self._comes or self._last) + body)

    def _break_off(self, why: str = UPSTREAM_RESET) -> None:
        """The answer has begun and cannot be completed: the client must see that."""
        self._watch.notes.flag(why)
        self._cut()

    def _cut(self, *, by_client: bool = False) -> None:
        if self._release():
            self._way.down.cut("upstream_reset")
            self._plan.over(whole=False, by_client=by_client)
            self._watch.over(self._status)

    def _close(self, *, by_client: bool = False) -> None:
        """The client has its answer, but its connection is in the middle of a request."""
        if self._release():
            self._plan.over(whole=False, by_client=by_client)
            self._watch.over(self._status)
            self._way.down.finish()

    def _leave(self) -> None:
        """The long way takes the request up, as if it had just come."""
        if self._release():
            self._plan.leave()
            passing = self._passing
            self._way.down.leave_to_coroutine(passing.again() if passing else self._head)

    def _end(self, *, whole: bool) -> None:
        if self._release():
            self._plan.over(whole=whole)
            self._watch.over(self._status)
            if self._last:
                self._way.down.served_last()
            else:
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
        self._let_client_go()
        self._way.down.servant = None
        self._way.free()
        if self._passing is not None:
            self._watch.notes.rx_bytes = self._passing.size
        return True

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _goes_on(head: Response) -> bool:
    """Whether a connection goes on after an answer without a body."""
    return head.minor >= 1 and "close" not in (head.get("connection") or "").lower()
