"""Each instance is a register that is there or not: HTTP shows it linearizably, DNS in the end.

A list over HTTP reads every instance at one moment; each instance is searched alone
(register_search.py). DNS answers may be old by configuration; they must not show what never was,
and the last ones, made when everything had been whole for a while, must agree with HTTP.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from jepsen_lite.checkers import Verdict, verdict
from jepsen_lite.checkers.complete_set import elements
from jepsen_lite.checkers.linearizable import CONFIGURATIONS_MAX, STRONG, explain
from jepsen_lite.checkers.lost_writes import FINAL
from jepsen_lite.checkers.register_search import Span, search
from jepsen_lite.generator import READ, WRITE
from jepsen_lite.history import FAIL, OK, Op, Operation, pair
from jepsen_lite.models import Call

NAME = "catalog"
REGISTER, DEREGISTER, HTTP, DNS = "register", "deregister", "http", "dns"
_THERE = "there"


def check(ops: Sequence[Op]) -> Verdict:
    """The verdict about all instances."""
    changes: dict[str, list[Operation]] = defaultdict(list)
    http: list[Operation] = []
    by_dns: list[Operation] = []
    for operation in pair(ops):
        f = operation.invocation.f
        if f in (REGISTER, DEREGISTER):
            changes[operation.invocation.key].append(operation)
        elif operation.outcome == OK and f == HTTP and operation.invocation.mode in STRONG:
            http.append(operation)
        elif operation.outcome == OK and f == DNS:
            by_dns.append(operation)
    problems: list[str] = []
    for instance, made in sorted(changes.items()):
        spans = _spans(instance, made, http)
        if search(spans, CONFIGURATIONS_MAX).possible is False:
            problems.append(explain(instance, spans))
    problems += _invented([*http, *by_dns], changes) + _late(http, by_dns)
    return verdict(NAME, len(http) + len(by_dns), problems)


def _spans(instance: str, made: Sequence[Operation], http: Sequence[Operation]) -> list[Span]:
    spans: list[Span] = []
    for change in made:
        if change.outcome == FAIL:
            continue
        value = _THERE if change.invocation.f == REGISTER else None
        known = change.outcome == OK
        spans.append(Span(change.start, change.end, Call(WRITE, value, None, known), known))
    for shown in http:
        value = _THERE if instance in elements(shown) else None
        spans.append(Span(shown.start, shown.end, Call(READ, value), must=True))
    return spans


def _invented(shown: Sequence[Operation], changes: dict[str, list[Operation]]) -> list[str]:
    problems: list[str] = []
    for answer in shown:
        for instance in elements(answer):
            tries = [c for c in changes.get(str(instance), []) if c.invocation.f == REGISTER]
            if not any(c.outcome != FAIL and c.start < answer.end for c in tries):
                problems.append(
                    f"line {answer.start}: {answer.invocation.f} shows {instance}, "
                    "which was never registered"
                )
    return problems


def _late(http: Sequence[Operation], by_dns: Sequence[Operation]) -> list[str]:
    finals = [shown for shown in http if shown.invocation.mode == FINAL]
    if not finals:
        return []
    right = elements(finals[-1])
    return [
        f"line {answer.start}: DNS of {answer.invocation.node} still differs from HTTP in the end: "
        f"{sorted(map(str, elements(answer) ^ right))}"
        for answer in by_dns
        if answer.invocation.mode == FINAL and elements(answer) != right
    ]
