"""Runs the checks of this host: the one owner of their timers and probe tasks.

Decides how many probes run at once, and what to do with results that say more about this process
than about the application: when the event loop stood still (a paused process, a starved machine),
a probe that failed meanwhile is repeated instead of believed, and TTL checks get the lost time
back. Due times are schedule.py's, the meaning of results thresholds.py's.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agent.definitions import CheckDefinition
from agent.local.checks.output import limit_of
from agent.local.checks.probe import ProbeResult
from agent.local.checks.probes import LANES, Lane, Probes
from agent.local.checks.schedule import Schedule
from agent.local.checks.thresholds import Thresholds
from agent.tasks import TaskOwner
from raftstore.records import CRITICAL, PASSING, CheckId

log = logging.getLogger("lictor.agent.local.checks")

#: The loop's pulse; a pulse later than this by as much again means that the loop stood still.
PULSE_S = 0.25
STALL_MIN_S = 0.5
#: A probe that stalls keep spoiling is believed after so many in a row: a host that stands still
#: all the time is a reason to be critical.
DISCARDS_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A result. ``status`` is None when thresholds leave the check's status as it is."""

    check_id: CheckId
    status: str | None
    seen: str
    output: str
    cause: str
    duration_s: float
    #: From when it was due until there was room for it.
    waited_s: float = 0.0


class OnReport(Protocol):
    """Takes results; called on the event loop, must not block."""

    def __call__(self, report: Report) -> None: ...


@dataclass(slots=True)
class RunnerStats:
    """Counters since start."""

    runs: int = 0
    runs_discarded: int = 0
    ttl_expired: int = 0
    loop_stalls: int = 0
    probes_current: int = 0
    probes_waiting_current: int = 0


@dataclass(slots=True)
class _Running:
    check: CheckDefinition
    thresholds: Thresholds
    task: asyncio.Task[None] | None = None
    again: bool = False
    discards: int = 0
    due_at: float = 0.0
    waited_s: float = 0.0


class _Places:
    """Room for probes of one lane, and who waits for it: each at most once, so never more than
    there are checks."""

    __slots__ = ("busy", "max", "waiting")

    def __init__(self, most: int) -> None:
        self.max = most
        self.busy = 0
        self.waiting: deque[CheckId] = deque()


class CheckRunner:
    """Runs every check it is given until it is taken back."""

    def __init__(
        self,
        on_report: OnReport,
        *,
        concurrent_max: int,
        programs_max: int,
        output_max: int,
        rng: random.Random,
        probes: Probes | None = None,
        on_stall: Callable[[float], None] | None = None,
    ) -> None:
        """``on_stall`` is told for how many seconds the event loop stood still."""
        self._on_report = on_report
        self._on_stall = on_stall
        self._places = {
            Lane.CONNECTION: _Places(concurrent_max),
            Lane.PROGRAM: _Places(programs_max),
        }
        self.probes = probes or Probes()
        self.output_max = output_max
        self._schedule = Schedule(rng)
        self._checks: dict[CheckId, _Running] = {}
        self._owner = TaskOwner()
        self._timer: asyncio.TimerHandle | None = None
        self._pulse: asyncio.TimerHandle | None = None
        self._pulse_at = 0.0
        self._stalled_at = float("-inf")
        self._stats = RunnerStats()

    @property
    def stats(self) -> RunnerStats:
        """Counters, and how many probes run and wait now."""
        self._stats.probes_current = sum(each.busy for each in self._places.values())
        self._stats.probes_waiting_current = sum(len(p.waiting) for p in self._places.values())
        return self._stats

    # ---- what is to be run ----

    def put(self, check: CheckDefinition, *, ttl_left_s: float = 0.0) -> None:
        """Run a check from now on; one with its id is replaced and its probe cancelled."""
        self.remove(check.id)
        now = self._now()
        if check.kind == "ttl":
            self._schedule.add_ttl(check.id, check.ttl_s, now, ttl_left_s)
        elif check.kind in LANES:
            self._schedule.add_probe(check.id, check.interval_s, now)
        else:
            return
        self._checks[check.id] = _Running(check, Thresholds(check))
        self._wake_at_deadline()
        if self._pulse is None:
            self._pulse_at = now
            self._pulse = self._loop().call_later(PULSE_S, self._beat)

    def remove(self, check_id: CheckId) -> None:
        """Stop running a check."""
        running = self._checks.pop(check_id, None)
        self._schedule.remove(check_id)
        if running is not None and running.task is not None:
            running.task.cancel()

    def refresh_ttl(self, check_id: CheckId) -> None:
        """A TTL check reported: its time starts anew."""
        self._schedule.refresh(check_id, self._now())
        self._wake_at_deadline()

    def hasten(self, check_id: CheckId) -> None:
        """What a check looks at has changed: probe it at once, and soon again until it passes."""
        self._schedule.hasten(check_id, self._now())
        self._wake_at_deadline()

    async def stop(self) -> None:
        """End all probes and timers."""
        for handle in (self._timer, self._pulse):
            if handle is not None:
                handle.cancel()
        self._checks.clear()
        for places in self._places.values():
            places.waiting.clear()
        await self._owner.close()
        await self.probes.close()

    # ---- time ----

    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def _now(self) -> float:
        return self._loop().time()

    def _beat(self) -> None:
        self._note_stall()
        self._pulse = self._loop().call_later(PULSE_S, self._beat) if self._checks else None

    def _note_stall(self) -> None:
        """Find out whether the loop stood still since the last pulse, and forgive for it."""
        now = self._now()
        stalled_s = now - self._pulse_at - PULSE_S
        self._pulse_at = now
        if stalled_s < STALL_MIN_S:
            return
        self._stalled_at = now
        self._stats.loop_stalls += 1
        log.warning("event loop stood still, late checks are forgiven for_s=%.2f", stalled_s)
        self._schedule.forgive(stalled_s, now)
        if self._on_stall is not None:
            self._on_stall(stalled_s)
        self._wake_at_deadline()

    def _look_for_stall(self) -> None:
        """What comes to us before the pulse does after a stall must know of it."""
        if self._now() - self._pulse_at > PULSE_S + STALL_MIN_S:
            self._note_stall()

    def _wake_at_deadline(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._schedule.deadline
        if deadline is not None:
            self._timer = self._loop().call_at(deadline, self._due)

    def _due(self) -> None:
        self._timer = None
        self._look_for_stall()
        now = self._now()
        probes, expired = self._schedule.due(now)
        for check_id in expired:
            self._stats.ttl_expired += 1
            self._on_report(
                Report(
                    check_id=check_id,
                    status=CRITICAL,
                    seen=CRITICAL,
                    output="TTL expired",
                    cause="TTL expired",
                    duration_s=0.0,
                )
            )
        for check_id in probes:
            running = self._checks[check_id]
            running.due_at = now
            self._places[LANES[running.check.kind]].waiting.append(check_id)
        self._start_waiting()
        self._wake_at_deadline()

    # ---- probes ----

    def _start_waiting(self) -> None:
        for places in self._places.values():
            while places.waiting and places.busy < places.max:
                running = self._checks.get(places.waiting.popleft())
                if running is not None and running.task is None:
                    self._start(running, places)

    def _start(self, running: _Running, places: _Places) -> None:
        places.busy += 1
        running.again = False
        running.waited_s = self._now() - running.due_at
        running.task = self._owner.spawn(
            self._probe_once(running), name=f"check {running.check.id}"
        )
        running.task.add_done_callback(functools.partial(self._ended, running, places))

    async def _probe_once(self, running: _Running) -> None:
        check, started, began = running.check, self._now(), time.perf_counter()
        result = await self.probes.probe(check, limit_of(check.output_max_size, self.output_max))
        self._stats.runs += 1
        if self._checks.get(check.id) is not running:
            return
        self._look_for_stall()
        spoilt = result.status == CRITICAL and self._stalled_at >= started
        if spoilt and running.discards < DISCARDS_MAX:
            # It failed while this process stood still: that is no result.
            self._stats.runs_discarded += 1
            running.discards += 1
            running.again = True
            return
        running.discards = 0
        if result.status == PASSING:
            self._schedule.settle(check.id, started)
        self._judge(running, result, time.perf_counter() - began)

    def _ended(self, running: _Running, places: _Places, _: asyncio.Task[None]) -> None:
        """Also called for a probe that was cancelled before its first step."""
        places.busy -= 1
        running.task = None
        if self._checks.get(running.check.id) is running:
            self._schedule.ended(running.check.id, self._now(), again=running.again)
        if self._checks:
            self._wake_at_deadline()
            self._start_waiting()

    def _judge(self, running: _Running, result: ProbeResult, took: float) -> None:
        self._on_report(
            Report(
                check_id=running.check.id,
                status=running.thresholds.judge(result.status),
                seen=result.status,
                output=result.output,
                cause=f"{running.check.kind} probe, {running.thresholds.explain()}",
                duration_s=took,
                waited_s=running.waited_s,
            )
        )
