"""Nothing that was added gets lost, and every strong read shows all that was added before it.

An ``add`` puts one unique element in; a ``list`` shows all elements. The final list of a run is a
strong one (mode "final").
"""

from __future__ import annotations

from collections.abc import Sequence

from jepsen_lite.checkers import Verdict, verdict
from jepsen_lite.checkers.linearizable import STRONG
from jepsen_lite.checkers.lost_writes import FINAL
from jepsen_lite.history import FAIL, OK, Json, Op, Operation, pair

NAME = "complete-set"
ADD, LIST = "add", "list"


def check(ops: Sequence[Op]) -> Verdict:
    """The verdict about all lists."""
    adds: dict[Json, Operation] = {}
    lists: list[Operation] = []
    for operation in pair(ops):
        if operation.invocation.f == ADD:
            adds[operation.invocation.value] = operation
        elif operation.invocation.f == LIST and operation.outcome == OK:
            lists.append(operation)
    problems: list[str] = []
    for shown in lists:
        problems += _phantoms(shown, adds)
    strong = [shown for shown in lists if shown.invocation.mode in STRONG]
    problems += _missing(strong, adds)
    whole = any(shown.invocation.mode == FINAL for shown in lists)
    return verdict(NAME, len(adds) + len(lists) if whole else 0, problems)


def elements(shown: Operation) -> frozenset[Json]:
    """What a list showed."""
    assert shown.completion is not None
    value = shown.completion.value
    return frozenset(value if isinstance(value, list) else ())


def _phantoms(shown: Operation, adds: dict[Json, Operation]) -> list[str]:
    problems: list[str] = []
    for element in elements(shown):
        add = adds.get(element)
        at = f"line {shown.start}: the list shows {element}"
        if add is None:
            problems.append(f"{at}, which nobody added")
        elif add.outcome == FAIL:
            problems.append(f"{at}, whose add failed (line {add.start})")
        elif add.start > shown.end:
            problems.append(f"{at} before it was added (line {add.start})")
    return problems


def _missing(strong: Sequence[Operation], adds: dict[Json, Operation]) -> list[str]:
    """An element that a later list shows again was only read too old; any other one is lost."""
    seen = [(shown, elements(shown)) for shown in sorted(strong, key=lambda each: each.start)]
    problems: list[str] = []
    for element, add in adds.items():
        if add.outcome != OK:
            continue
        without = [shown for shown, held in seen if shown.start > add.end and element not in held]
        if not without:
            continue
        last = seen[-1][1]
        how = "an old list" if element in last else "lost"
        problems.append(
            f"line {add.start}: {element} was acknowledged, and {len(without)} later lists lack it "
            f"(first line {without[0].start}): {how}"
        )
    return problems
