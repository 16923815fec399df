"""A lock has one holder at a time, and what it guards is never changed by an earlier holder.

``acquire`` answers ``{"token": fencing token, "ttl_s": …}``. A holder has the lock until it
begins to release it, at most while its session certainly lives: one TTL after the last renewal
that was answered began. ``guarded`` is a change that was made only if the holder still had the
lock; its value is the token, its modify index the order of changes.

Clocks of servers do not count here, only that of the tester.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from jepsen_lite.checkers import Verdict, verdict
from jepsen_lite.history import OK, Op, Operation, pair

NAME = "mutual-exclusion"
ACQUIRE, RELEASE, RENEW, GUARDED = "acquire", "release", "renew", "guarded"


@dataclass(slots=True)
class _Hold:
    """One time of holding: certain between two moments of the tester's clock (seconds)."""

    process: str
    line: int
    granted_line: float
    token: int
    since: float
    ttl_s: float
    renewed_at: float
    until: float = float("inf")

    @property
    def sure_until(self) -> float:
        return min(self.until, self.renewed_at + self.ttl_s)


def check(ops: Sequence[Op]) -> Verdict:
    """The verdict about all locks."""
    holds: dict[str, list[_Hold]] = defaultdict(list)
    current: dict[tuple[str, str], _Hold] = {}
    guarded: dict[str, list[Operation]] = defaultdict(list)
    for operation in pair(ops):
        invocation = operation.invocation
        place = (invocation.process, invocation.key)
        if invocation.f == ACQUIRE and operation.outcome == OK:
            current[place] = _hold(operation)
            holds[invocation.key].append(current[place])
        elif invocation.f == RELEASE and place in current:
            current.pop(place).until = invocation.at
        elif invocation.f == RENEW and operation.outcome == OK and place in current:
            current[place].renewed_at = invocation.at
        elif invocation.f == GUARDED and operation.outcome == OK:
            guarded[invocation.key].append(operation)
    problems: list[str] = []
    for key, found in holds.items():
        problems += _overlaps(key, found) + _tokens(key, found)
    for key, changes in guarded.items():
        problems += _late(key, changes)
    return verdict(NAME, sum(map(len, holds.values())), problems)


def _hold(operation: Operation) -> _Hold:
    assert operation.completion is not None
    told = operation.completion.value
    assert isinstance(told, dict)
    return _Hold(
        process=operation.invocation.process,
        line=operation.start,
        granted_line=operation.end,
        token=int(str(told["token"])),
        since=operation.completion.at,
        ttl_s=float(str(told["ttl_s"])),
        renewed_at=operation.invocation.at,
    )


def _overlaps(key: str, holds: Sequence[_Hold]) -> list[str]:
    problems: list[str] = []
    before: _Hold | None = None
    for hold in sorted(holds, key=lambda hold: hold.since):
        if before is not None and hold.since < before.sure_until:
            problems.append(
                f"lines {before.line} and {hold.line}: {key} was given to {hold.process} at "
                f"{hold.since:.2f} s, and {before.process} held it until {before.sure_until:.2f} s"
            )
        if before is None or hold.sure_until > before.sure_until:
            before = hold
    return problems


def _tokens(key: str, holds: Sequence[_Hold]) -> list[str]:
    """A lock granted later has a higher token."""
    problems: list[str] = []
    by_grant = sorted(holds, key=lambda hold: hold.granted_line)
    highest, ended = -1, 0
    for hold in sorted(holds, key=lambda hold: hold.line):
        while by_grant[ended].granted_line < hold.line:
            highest = max(highest, by_grant[ended].token)
            ended += 1
        if hold.token <= highest:
            problems.append(f"line {hold.line}: {key} has token {hold.token} after {highest}")
    return problems


def _late(key: str, changes: Sequence[Operation]) -> list[str]:
    """In the order of changes, tokens never go back: nobody changed anything after a successor."""
    problems: list[str] = []
    highest = -1
    made = [(c.completion.modify_index, c) for c in changes if c.completion is not None]
    for index, change in sorted(made, key=lambda pair: pair[0]):
        token = int(str(change.invocation.value))
        if token < highest:
            problems.append(
                f"line {change.start}: {key} was changed at index {index} under token {token}, "
                f"after a change under {highest}"
            )
        highest = max(highest, token)
    return problems
