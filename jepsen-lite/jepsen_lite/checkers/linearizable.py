"""Every key behaves like one register to all clients (Herlihy and Wing; search after Wing and Gong
with Lowe's memory of configurations already tried).

Keys are independent, so each is searched alone. Operations of unknown outcome may take effect at
any time after their start, or never. The search is bounded; beyond the bound the verdict is
unknown, never valid.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from jepsen_lite.checkers import Validity, Verdict, verdict
from jepsen_lite.checkers.lost_writes import FINAL
from jepsen_lite.generator import READ
from jepsen_lite.history import FAIL, OK, Op, Operation, pair
from jepsen_lite.models import Call, Model, Register

NAME = "linearizable"
#: Configurations (set of operations done, state) tried for one key.
CONFIGURATIONS_MAX = 200_000
_STRONG = frozenset({"consistent", FINAL})


@dataclass(frozen=True, slots=True)
class _Span:
    start: float
    end: float
    call: Call
    must: bool


def check(ops: Sequence[Op], *, configurations_max: int = CONFIGURATIONS_MAX) -> Verdict:
    """The verdict about all keys."""
    keys: dict[str, list[_Span]] = defaultdict(list)
    checked = 0
    for operation in pair(ops):
        span = _span(operation)
        if span is not None:
            keys[operation.invocation.key].append(span)
            checked += 1
    problems: list[str] = []
    unknown: list[str] = []
    for key, spans in sorted(keys.items()):
        found = _search(spans, Register(), configurations_max)
        if found is None:
            unknown.append(f"{key}: gave up after {configurations_max} configurations")
        elif not found:
            problems.append(f"{key}: no order of its {len(spans)} operations explains the answers")
    if unknown and not problems:
        return Verdict(NAME, Validity.UNKNOWN, checked, tuple(unknown))
    return verdict(NAME, checked, problems)


def _span(operation: Operation) -> _Span | None:
    """What the search needs to know; None for what changed nothing and told nothing."""
    invocation, outcome = operation.invocation, operation.outcome
    if outcome == FAIL or (invocation.f == READ and outcome != OK):
        return None
    if invocation.f == READ and invocation.mode not in _STRONG:
        return None
    value = invocation.value
    if invocation.f == READ:
        assert operation.completion is not None
        value = operation.completion.value
    known = outcome == OK
    call = Call(invocation.f, value, invocation.expected, known)
    return _Span(operation.start, operation.end, call, known)


def _search(spans: list[_Span], model: Model, configurations_max: int) -> bool | None:
    """Whether some order explains the spans; None when the bound was reached."""
    spans = sorted(spans, key=lambda span: span.start)
    goal = sum(1 << number for number, span in enumerate(spans) if span.must)
    stack = [(0, model.init())]
    tried: set[tuple[int, str | None]] = set(stack)
    while stack:
        done, state = stack.pop()
        if done & goal == goal:
            return True
        first_end = min(
            span.end for number, span in enumerate(spans) if span.must and not done >> number & 1
        )
        for number, span in enumerate(spans):
            if span.start > first_end:
                break  # something that must come before has already ended
            if done >> number & 1:
                continue
            allowed, after = model.step(state, span.call)
            configuration = (done | 1 << number, after)
            if allowed and configuration not in tried:
                if len(tried) >= configurations_max:
                    return None
                tried.add(configuration)
                stack.append(configuration)
    return False
