"""Watches the event loop from a thread: what holds it is caught in the act, with its stack.

Always on, it looks at a timer of the loop: how late that is, is how long the loop was held, by one
callback or by several in a row (a *turn*). On a TimedLoop (``enable_debug``) each callback is
measured for itself. In both cases the scheduler's accounts of all threads of this process say how
much of that time we stood in line for a processor; that part is not counted (holds.py).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from types import FrameType
from typing import Any

from agent.loop.collector import Collector
from agent.loop.holds import Hold, Holds, Span
from agent.loop.scheduler import SchedulerAccounts
from agent.loop.timed import TimedLoop

log = logging.getLogger("lictor.agent.loop")

#: Makes the loop's thread note its stack.
STACK_SIGNAL = signal.SIGPROF
#: The loop's timer without ``enable_debug``: ten wakings a second of each thread cost an idle agent
#: a tenth of a percent of a core, and any hold of that length is met.
BEAT_S = 0.1
#: Between two looks of the thread with ``enable_debug``; a stack is at most that much late.
LOOK_S = 0.005
#: Innermost frames of a stack that are kept.
FRAMES_MAX = 24
#: At most so many holds are logged in a minute; all are counted.
LOGGED_PER_MINUTE = 20


class Watchdog:
    """One loop's watchdog. Made and stopped on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, collector: Collector) -> None:
        """``collector`` tells how much of a hold was its."""
        self._loop = loop
        self._collector = collector
        self._timed = loop if isinstance(loop, TimedLoop) else None
        self.holds = Holds(collector, exact=self._timed is not None)
        self._ident = threading.get_ident()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = self._beat_cpu_s = 0.0
        #: (perf_counter, how long each thread had stood in line), the newest last.
        self._accounts: list[tuple[float, dict[str, int]]] = []
        self._scheduler = SchedulerAccounts()  # the thread's
        self._late_scheduler = SchedulerAccounts()  # the loop's, read when it was held
        self._asked_at = 0.0
        self._caught: tuple[float, tuple[str, ...]] = (0.0, ())
        self._caught_cpu_s = 0.0
        self._collected_s = 0.0
        self._logged: tuple[int, int] = (0, 0)

    def start(self) -> None:
        """Count from here on: before it serves an agent may take its time."""
        self._accounts = [(time.perf_counter(), self._scheduler.queued())]
        if self._timed is not None:
            self._timed.clock.on_finished = self._finished
        else:
            self._beat_cpu_s = time.thread_time()
            self._next_beat()
        if self._ident == threading.main_thread().ident:
            signal.signal(STACK_SIGNAL, self._interrupted)
        self._thread = threading.Thread(target=self._watch, name="lictor-loop-watch", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End the thread; may be called twice."""
        if self._thread is None:
            return
        self._ended.set()
        thread, self._thread = self._thread, None
        await self._loop.run_in_executor(None, thread.join)
        self._scheduler.close()
        self._late_scheduler.close()
        if self._ident == threading.main_thread().ident:
            signal.signal(STACK_SIGNAL, signal.SIG_IGN)
        if self._timed is not None:
            self._timed.clock.on_finished = None
        if self._timer is not None:
            self._timer.cancel()

    def _ask_for_stack(self) -> None:
        """Have the loop's thread note where it is. Another thread must not walk its frames: they
        change under it, and CPython 3.11 crashes."""
        if self._ident == threading.main_thread().ident:
            signal.pthread_kill(self._ident, STACK_SIGNAL)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self._caught = (self._asked_at, _stack(frame))
        self._caught_cpu_s = time.thread_time()

    # -- on the loop

    def _next_beat(self) -> None:
        self._due_at = time.perf_counter() + BEAT_S
        self._collected_s = self._collector.spent_s
        self._timer = self._loop.call_later(BEAT_S, self._beat)

    def _beat(self) -> None:
        now, cpu_s = time.perf_counter(), time.thread_time()
        late_s = max(0.0, now - self._due_at)
        # What was computed since the last beat may have been before this one was due; what was
        # since the thread saw it late, was not.
        spent_s = min(late_s, cpu_s - self._beat_cpu_s)
        if self._caught[0] == self._due_at:
            spent_s = min(spent_s, cpu_s - self._caught_cpu_s + self.holds.hold_max_s)
        due_at, self._due_at = self._due_at, 0.0
        self._beat_cpu_s = cpu_s
        self._note("one turn of the loop", due_at, late_s, spent_s)
        self._next_beat()

    def _finished(self, callback: Any, begun_at: float, wall_s: float, cpu_s: float) -> None:
        self._note(callback, begun_at, wall_s, cpu_s)
        self._collected_s = self._collector.spent_s

    def _note(self, what: Any, begun_at: float, wall_s: float, cpu_s: float) -> None:
        if self._ended.is_set():
            return  # an agent that ends may take its time, too
        queued_s = max(0.0, wall_s - cpu_s)
        if wall_s > self.holds.hold_max_s:
            # Accounts are dear to read, so what is short counts by its processor time alone.
            queued_s = self._queued_since(begun_at)
        collecting_s = self._collector.spent_s - self._collected_s
        span = Span(wall_s, cpu_s, queued_s, collecting_s)
        if not self.holds.note(span):
            return
        caught_at, stack = self._caught
        hold = Hold(time.time(), span, named(what), stack if caught_at == begun_at else ())
        self.holds.keep(hold)
        self._tell(hold)

    def _queued_since(self, at: float) -> float:
        """Seconds in line since the last reading that is not younger than ``at``."""
        before = self._accounts[0][1]
        for read_at, queued in self._accounts:
            if read_at <= at:
                before = queued
        found = self._late_scheduler.queued()
        # Thread by thread: one that has ended would make the sum smaller.
        return sum(now - before.get(thread, 0) for thread, now in found.items()) / 1e9

    def _tell(self, hold: Hold) -> None:
        minute, count = int(hold.at // 60), 0
        if self._logged[0] == minute:
            count = self._logged[1]
        self._logged = (minute, count + 1)
        if count < LOGGED_PER_MINUTE:
            log.warning(
                "event loop held ms=%.1f cpu_ms=%.1f blocked_ms=%.1f collector_ms=%.1f what=%s"
                " stack=%s",
                1000 * hold.span.own_s,
                1000 * hold.span.cpu_s,
                1000 * hold.span.blocked_s,
                1000 * hold.span.collecting_s,
                hold.what,
                " < ".join(reversed(hold.stack)) or "-",
            )

    # -- on the thread

    def _watch(self) -> None:
        while not self._ended.wait(self._next_look_s()):
            begun_at = self._timed.clock.begun_at if self._timed is not None else self._due_at
            if begun_at and self._asked_at != begun_at:
                held_s = time.perf_counter() - begun_at
                if held_s > self.holds.hold_max_s:
                    self._asked_at = begun_at
                    self._ask_for_stack()
            # Read first, so that the time is not before what was read.
            queued = self._scheduler.queued()
            self._accounts = [*self._accounts[-15:], (time.perf_counter(), queued)]

    def _next_look_s(self) -> float:
        """Until the thread looks again: without exact times, when the timer would be too late."""
        if self._timed is not None:
            return LOOK_S
        late_at = self._due_at + 1.05 * self.holds.hold_max_s
        left_s = late_at - time.perf_counter()
        return left_s if left_s > 0 else BEAT_S / 2


def _stack(frame: FrameType | None) -> tuple[str, ...]:
    """``file:line function``, the outermost first."""
    found: list[str] = []
    while frame is not None and len(found) < FRAMES_MAX:
        code = frame.f_code
        where = "/".join(code.co_filename.split("/")[-3:])
        found.append(f"{where}:{frame.f_lineno} {code.co_qualname}")
        frame = frame.f_back
    return tuple(reversed(found))


def named(what: Any) -> str:
    """A callback by the name of what it runs: for a task, of its coroutine."""
    owner = getattr(what, "__self__", None)
    if isinstance(owner, asyncio.Task):
        coroutine: Any = owner.get_coro()
        return f"task {getattr(coroutine, '__qualname__', coroutine)}"
    if hasattr(what, "func"):  # functools.partial
        return named(what.func)
    return str(getattr(what, "__qualname__", what))
