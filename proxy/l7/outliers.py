"""Hosts that keep failing get no requests for a while (contract D.9). Pure; ``now`` is given.

A number of failures in a row ejects a host, each time for longer; a clean sweep forgives one time.
Never more than a share of the hosts, but always one of two or more, and never the last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

EJECTION_MAX_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierConfig:
    """``passive_health_check`` of an upstream."""

    max_failures: int = 5
    interval_s: float = 10.0
    base_ejection_s: float = 30.0
    max_ejection_percent: int = 10
    enforcing_percent: int = 100


@dataclass(slots=True)
class _Standing:
    failures: int = 0
    times: int = 0
    until: float = 0.0
    clean: bool = True
    trying: bool = False


_NOBODY: frozenset[object] = frozenset()


class Outliers:
    """The standing of the hosts of one target, by their keys."""

    def __init__(self, config: OutlierConfig, now: float) -> None:
        self._config = config
        self._standing: dict[object, _Standing] = {}
        self._sweep_at = now + config.interval_s
        #: Whether anybody was ejected and is not yet forgiven: with many hosts it is dear to look.
        self._out = False

    def update(self, keys: Iterable[object]) -> None:
        """These are the hosts now."""
        self._standing = {key: self._standing.get(key) or _Standing() for key in keys}

    def ejected(self, now: float) -> frozenset[object]:
        """Who gets no requests now. A host that has just come back gets one request as a trial."""
        self._sweep(now)
        if not self._out:
            return _NOBODY
        return frozenset(
            key
            for key, each in self._standing.items()
            if each.until > now or (each.times and each.trying)
        )

    def started(self, key: object, now: float) -> None:
        """A request goes to a host; after an ejection it is the trial that others wait for."""
        each = self._standing.get(key)
        if each is not None and each.times and each.until <= now and each.failures:
            each.trying = True

    def ended(self, key: object, now: float, *, failed: bool, draw: float = 0.0) -> bool:
        """A request ended; whether that ejected the host. ``draw`` in [0, 1) decides where only a
        share of ejections is enforced."""
        each = self._standing.get(key)
        if each is None:
            return False
        trial, each.trying = each.trying, False
        if not failed:
            each.failures = 0
            return False
        each.failures += 1
        each.clean = False
        if each.failures < self._config.max_failures and not trial:
            return False
        if each.until > now or not self._may_eject(now):
            return False
        if draw * 100 >= self._config.enforcing_percent:
            each.failures = 0  # seen, and let go
            return False
        each.times += 1
        self._out = True
        pause_s = min(EJECTION_MAX_S, self._config.base_ejection_s * each.times)
        each.until = now + pause_s
        return True

    def _may_eject(self, now: float) -> bool:
        out = sum(each.until > now for each in self._standing.values())
        size = len(self._standing)
        if size < 2 or out + 1 >= size:
            return False
        return out == 0 or (out + 1) * 100 <= self._config.max_ejection_percent * size

    def _sweep(self, now: float) -> None:
        if self._sweep_at > now:
            return
        # After a long quiet time many sweeps are due at once; all but the first are clean.
        due = 1 + int((now - self._sweep_at) / self._config.interval_s)
        self._sweep_at += due * self._config.interval_s
        for each in self._standing.values():
            if each.until > now:
                continue
            each.times = max(0, each.times - (due if each.clean else due - 1))
            if not each.times:
                each.failures = 0 if due > 1 or each.clean else each.failures
            each.clean = True
        self._out = any(each.times or each.until > now for each in self._standing.values())
