"""How many results in a row it takes to change a check's status.

Decides by agent contract 1.2: counting starts from "already reached", so the first result after
start counts at once; a success zeroes the failures and the reverse; warning is a success. Below a
threshold neither status nor output changes.
"""

from __future__ import annotations

from agent.definitions import CheckDefinition
from raftstore.records import CRITICAL, PASSING, WARNING


class Thresholds:
    """The counters of one check."""

    __slots__ = ("_critical_at", "_failures", "_passing_at", "_successes", "_warning_at")

    def __init__(self, check: CheckDefinition) -> None:
        self._passing_at = check.success_before_passing
        self._critical_at = check.failures_before_critical
        self._warning_at = check.failures_before_warning or check.failures_before_critical
        self._successes = self._passing_at
        self._failures = self._critical_at

    def judge(self, status: str) -> str | None:
        """What the check's status becomes after this result, None if it stays as it is."""
        if status in {PASSING, WARNING}:
            self._successes += 1
            self._failures = 0
            return status if self._successes >= self._passing_at else None
        self._failures += 1
        self._successes = 0
        if self._failures >= self._critical_at:
            return CRITICAL
        return WARNING if self._failures >= self._warning_at else None

    def explain(self) -> str:
        """Why the last result did or did not count."""
        if self._successes:
            return f"success {self._successes} of {max(1, self._passing_at)}"
        return f"failure {self._failures} of {max(1, self._critical_at)}"
