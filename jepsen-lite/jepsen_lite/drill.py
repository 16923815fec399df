"""Faults on a throw-away cluster, one after the other, told as a story of what clients saw."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jepsen_lite.checkers import Verdict
from jepsen_lite.checkers.compose import worst
from jepsen_lite.cluster import Cluster
from jepsen_lite.generator import READ
from jepsen_lite.history import FAIL, INFO, NEMESIS, OK, Op, Operation, pair
from jepsen_lite.nemeses import NEMESES
from jepsen_lite.nemeses.nemesis import Nemesis

#: What is done, in this order.
SCRIPT = (
    "kill-leader",
    "pause-leader",
    "isolate-leader",
    "one-way",
    "loss",
    "kill-all",
    "rolling",
)
#: Seconds of quiet, then of the fault.
PAUSE_S, HOLD_S = 3.0, 4.0


def in_order(names: Sequence[str]) -> Nemesis:
    """A nemesis that does one after the other, then begins again."""
    turns = iter(_forever(names))
    members = {name: NEMESES[name] for name in names}

    def inject(cluster: Cluster, rng: random.Random) -> str:
        name = next(turns)
        return f"{name}: {members[name].inject(cluster, rng)}"

    def heal(cluster: Cluster) -> str:
        return ", ".join(dict.fromkeys(each.heal(cluster) for each in members.values()))

    return Nemesis(
        inject=inject,
        heal=heal,
        needs_network=any(each.needs_network for each in members.values()),
    )


def _forever(names: Sequence[str]) -> Iterator[str]:
    while True:
        yield from names


@dataclass(frozen=True, slots=True)
class Chapter:
    """One fault: from its beginning until the next one begins."""

    told: str
    began: float
    healed: float
    ended: float


def chapters(ops: Sequence[Op]) -> list[Chapter]:
    """The faults of a history, in order."""
    notes = [op for op in ops if op.process == NEMESIS]
    begins = [op for op in notes if op.f == "inject"]
    last = max((op.at for op in ops), default=0.0)
    found = []
    for at, begin in enumerate(begins):
        ended = begins[at + 1].at if at + 1 < len(begins) else last
        healed = next((op.at for op in notes if op.f == "heal" and op.at >= begin.at), ended)
        found.append(Chapter(str(begin.value), begin.at, healed, ended))
    return found


def story(ops: Sequence[Op], verdicts: Sequence[Verdict]) -> str:
    """What happened and what clients saw of it, fault by fault."""
    operations = pair(ops)
    lines: list[str] = []
    for number, chapter in enumerate(chapters(ops), start=1):
        inside = [o for o in operations if chapter.began <= o.invocation.at < chapter.ended]
        lines.append(f"{number}. At {chapter.began:.1f} s: {chapter.told}.")
        lines.append(f"   Changes: {_outcomes(inside, reads=False)}; reads: {_outcomes(inside)}.")
        lines.append(f"   {_gap(operations, chapter)}")
    lines += ["", *_judgement(verdicts)]
    return "\n".join(lines) + "\n"


def _outcomes(operations: Sequence[Operation], *, reads: bool = True) -> str:
    ends = [o.outcome for o in operations if (o.invocation.f == READ) is reads]
    words = {OK: "acknowledged", FAIL: "failed for certain", INFO: "with unknown outcome"}
    return ", ".join(f"{ends.count(end)} {word}" for end, word in words.items() if end in ends) or (
        "none"
    )


def _gap(operations: Sequence[Operation], chapter: Chapter) -> str:
    """The longest time in which no change was acknowledged."""
    times = sorted(
        o.completion.at
        for o in operations
        if o.outcome == OK
        and o.invocation.f != READ
        and o.completion is not None
        and chapter.began <= o.completion.at <= chapter.ended
    )
    points = [chapter.began, *times, chapter.ended]
    gap, at = max((b - a, a) for a, b in itertools.pairwise(points))
    return f"The longest time without an acknowledged change was {gap:.2f} s, from {at:.1f} s on."


def _judgement(verdicts: Sequence[Verdict]) -> list[str]:
    lines = [f"Judged over everything: {worst(verdicts).value}."]
    for verdict in verdicts:
        lines.append(f"  {verdict.name}: {verdict.validity.value} ({verdict.checked} looked at)")
        lines += [f"    {problem}" for problem in verdict.problems]
    return lines
