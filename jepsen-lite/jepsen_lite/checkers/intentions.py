"""Who may connect: a connection passes only where an intention allows it, soon after each change.

Every pair of services has one writer, so its changes are in order but for those whose outcome is
unknown. A sidecar may be behind while something is broken; in calm it may not be behind for longer
than ``BOUND_S``, for new connections and for those that were open before. At the end each pair
passes exactly if its last change allows it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from jepsen_lite.checkers import Verdict, verdict
from jepsen_lite.checkers.lost_writes import FINAL
from jepsen_lite.history import FAIL, NEMESIS, OK, Op, Operation, pair

NAME = "intentions"
INTEND, PASS = "intend", "pass"
#: What is promised is a second; the rest is the tester's own time on a busy machine.
BOUND_S = 3.0
#: After a fault is healed, servers elect and sidecars find their agents again.
RECOVERY_S = 10.0
#: What a nemesis says that broke nothing.
_NOTHING = "nothing"


def check(ops: Sequence[Op]) -> Verdict:
    """The verdict about all pairs."""
    changes: dict[str, list[Operation]] = defaultdict(list)
    passes: list[Operation] = []
    for operation in pair(ops):
        f = operation.invocation.f
        if f == INTEND and operation.outcome != FAIL:
            changes[operation.invocation.key].append(operation)
        elif f == PASS and operation.outcome == OK:
            passes.append(operation)
    calm = _Calm(ops)
    problems: list[str] = []
    for seen in passes:
        made = changes[seen.invocation.key]
        if seen.invocation.mode == FINAL:
            problems += _last(seen, made)
        elif _value(seen):
            problems += _passed(seen, made, calm)
    return verdict(NAME, len(passes), problems)


def _value(operation: Operation) -> bool:
    return operation.completion is not None and operation.completion.value is True


def _allows(change: Operation) -> bool:
    return change.invocation.value is True


def _superseded(change: Operation, made: Sequence[Operation], before_at: float) -> bool:
    """Whether a later change was acknowledged before a moment."""
    return any(
        later.outcome == OK
        and later.start > change.end
        and later.completion is not None
        and later.completion.at < before_at
        for later in made
    )


def _passed(seen: Operation, made: Sequence[Operation], calm: _Calm) -> list[str]:
    """A connection passed: some change must have allowed it, and in calm not long ago."""
    key = seen.invocation.key
    allowing = [change for change in made if _allows(change) and change.start < seen.end]
    if not allowing:
        return [f"line {seen.start}: {key} passes, which nobody allowed"]
    horizon = seen.invocation.at - BOUND_S
    assert seen.completion is not None
    if not calm.between(horizon, seen.completion.at):
        return []
    if all(_superseded(change, made, horizon) for change in allowing):
        denied = max(
            (c.completion.at for c in made if c.completion and c.outcome == OK and not _allows(c)),
            default=0.0,
        )
        return [
            f"line {seen.start}: {key} passes ({seen.invocation.mode}) in calm at "
            f"{seen.invocation.at:.2f} s, though it was denied for longer than {BOUND_S:g} s "
            f"(last denial at {denied:.2f} s)"
        ]
    return []


def _last(seen: Operation, made: Sequence[Operation]) -> list[str]:
    """At the end: what the last change says. Without any change nobody may pass."""
    wanted = {_allows(c) for c in made if not _superseded(c, made, seen.invocation.at)} or {False}
    if _value(seen) in wanted:
        return []
    key, passes = seen.invocation.key, "passes" if _value(seen) else "does not pass"
    return [f"line {seen.start}: in the end {key} {passes}, against its last change"]


class _Calm:
    """When nothing was broken, and had not been for a while."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self._troubles: list[tuple[float, float]] = []
        began: float | None = None
        for op in ops:
            if op.process != NEMESIS or str(op.value).endswith(_NOTHING):
                continue
            if op.f == "inject":
                began = op.at if began is None else began
            elif began is not None:
                self._troubles.append((began, op.at + RECOVERY_S))
                began = None
        if began is not None:
            self._troubles.append((began, float("inf")))

    def between(self, start: float, end: float) -> bool:
        return all(end < began or start > over for began, over in self._troubles)
