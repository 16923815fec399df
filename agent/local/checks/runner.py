"""Runs the checks of this host: the one owner of their timers and probe tasks.

Decides how many probes run at once, and what to do with results that say more about this process
than about the application: when the event loop stood still (a paused process, a starved machine),
a probe that ran out of time meanwhile is repeated instead of believed, and TTL checks get the lost
time back. Due times are schedule.py's, the meaning of results thresholds.py's.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from agent.definitions import CheckDefinition
from agent.local.checks.http import HttpProber
from agent.local.checks.output import limit_of
from agent.local.checks.probe import ProbeResult
from agent.local.checks.schedule import Schedule
from agent.local.checks.script import probe_script
from agent.local.checks.tcp import probe_tcp
from agent.local.checks.thresholds import Thresholds
from agent.tasks import TaskOwner
from raftstore.records import CRITICAL, PASSING, CheckId

log = logging.getLogger("lictor.agent.local.checks")

#: The loop's pulse; a pulse later than this by as much again means that the loop stood still.
PULSE_S = 0.25
STALL_MIN_S = 0.5

#: Kinds that are probed from here; the rest report themselves, follow others, or are refused.
PROBED = frozenset({"http", "tcp", "script"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A result. ``status`` is None when thresholds leave the check's status as it is."""

    check_id: CheckId
    status: str | None
    seen: str
    output: str
    cause: str
    duration_s: float


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


@dataclass(slots=True)
class _Running:
    check: CheckDefinition
    thresholds: Thresholds
    task: asyncio.Task[None] | None = None
    again: bool = False


class CheckRunner:
    """Runs every check it is given until it is taken back."""

    def __init__(
        self, on_report: OnReport, *, concurrent_max: int, output_max: int, rng: random.Random
    ) -> None:
        self._on_report = on_report
        self._concurrent_max = concurrent_max
        self.output_max = output_max
        self._schedule = Schedule(rng)
        self._checks: dict[CheckId, _Running] = {}
        self._waiting: deque[CheckId] = deque()  # due, at most once each, so never longer than all
        self._busy = 0
        self._owner = TaskOwner()
        self._http = HttpProber()
        self._timer: asyncio.TimerHandle | None = None
        self._pulse: asyncio.TimerHandle | None = None
        self._pulse_at = 0.0
        self._stalled_at = float("-inf")
        self.stats = RunnerStats()

    # ---- what is to be run ----

    def put(self, check: CheckDefinition, *, ttl_left_s: float = 0.0) -> None:
        """Run a check from now on; one with its id is replaced and its probe cancelled."""
        self.remove(check.id)
        now = self._now()
        if check.kind == "ttl":
            self._schedule.add_ttl(check.id, check.ttl_s, now, ttl_left_s)
        elif check.kind in PROBED:
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
        self._waiting.clear()
        await self._owner.close()
        await self._http.close()

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
        self.stats.loop_stalls += 1
        log.warning("event loop stood still, late checks are forgiven for_s=%.2f", stalled_s)
        self._schedule.forgive(stalled_s, now)
        self._wake_at_deadline()

    def _wake_at_deadline(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._schedule.deadline
        if deadline is not None:
            self._timer = self._loop().call_at(deadline, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._now() - self._pulse_at > PULSE_S + STALL_MIN_S:
            self._note_stall()  # our timer came before the pulse's: look before judging
        probes, expired = self._schedule.due(self._now())
        for check_id in expired:
            self.stats.ttl_expired += 1
            self._report(check_id, CRITICAL, CRITICAL, "TTL expired", "TTL expired", 0.0)
        self._waiting.extend(probes)
        self._start_waiting()
        self._wake_at_deadline()

    # ---- probes ----

    def _start_waiting(self) -> None:
        while self._waiting and self._busy < self._concurrent_max:
            check_id = self._waiting.popleft()
            running = self._checks.get(check_id)
            if running is None or running.task is not None:
                continue
            self._busy += 1
            running.again = False
            running.task = self._owner.spawn(self._probe_once(running), name=f"check {check_id}")
            running.task.add_done_callback(functools.partial(self._ended, running))

    async def _probe_once(self, running: _Running) -> None:
        check, started = running.check, self._now()
        result = await self._probe(check)
        self.stats.runs += 1
        if self._checks.get(check.id) is not running:
            return
        if result.timed_out and self._stalled_at >= started:
            # The time ran out while this process stood still: that is no result.
            self.stats.runs_discarded += 1
            running.again = True
        else:
            if result.status == PASSING:
                self._schedule.settle(check.id, started)
            self._judge(running, result, self._now() - started)

    def _ended(self, running: _Running, _: asyncio.Task[None]) -> None:
        """Also called for a probe that was cancelled before its first step."""
        self._busy -= 1
        running.task = None
        if self._checks.get(running.check.id) is running:
            self._schedule.ended(running.check.id, self._now(), again=running.again)
        if self._checks:
            self._wake_at_deadline()
            self._start_waiting()

    async def _probe(self, check: CheckDefinition) -> ProbeResult:
        limit = limit_of(check.output_max_size, self.output_max)
        try:
            if check.kind == "http":
                return await self._http.probe(check, limit)
            if check.kind == "tcp":
                return await probe_tcp(check)
            return await probe_script(check, limit)
        except Exception as error:  # one check's trouble must not end the running of the others
            log.exception("check broke check=%s", check.id)
            return ProbeResult(CRITICAL, f"the check could not be run: {error}")

    def _judge(self, running: _Running, result: ProbeResult, took: float) -> None:
        status = running.thresholds.judge(result.status)
        cause = f"{running.check.kind} probe, {running.thresholds.explain()}"
        self._report(running.check.id, status, result.status, result.output, cause, took)

    def _report(
        self,
        check_id: CheckId,
        status: str | None,
        seen: str,
        output: str,
        cause: str,
        duration_s: float,
    ) -> None:
        self._on_report(
            Report(
                check_id=check_id,
                status=status,
                seen=seen,
                output=output,
                cause=cause,
                duration_s=duration_s,
            )
        )
