"""Transactions happen as if one after the other, in an order that real time allows.

The anomalies of Adya (1999) in histories of lists that are only appended to, found as Elle does it
(Kingsbury and Alvaro 2020): a list that was read tells the order of the writes before it, so what
must come before what is known, and a cycle in that has no explanation.

* ``ww``: wrote the value before the other's, ``wr``: wrote what the other read, ``rw``: read a list
  without the other's value, ``rt``: had ended before the other began.
* G0: a cycle of ww; G1a: a failed transaction's value was read; G1b: a value was read that its own
  transaction had followed up; G1c: ww and wr; G-single: one rw besides (read skew, lost update);
  G2: several. Cycles that need ``rt`` are named so: they are serializable, but show old state.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence

from jepsen_lite.checkers import Verdict, verdict
from jepsen_lite.checkers import graph as g
from jepsen_lite.checkers.transactions import Transaction, Transactions, transactions
from jepsen_lite.history import Json, Op

NAME = "serializable"
WW, WR, RW, RT = "ww", "wr", "rw", "rt"
#: The kinds of cycles, the worst first: edges it is made of, and the kind of its one other edge.
_KINDS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("G0", (WW,), ""),
    ("G1c", (WW, WR), ""),
    ("G-single", (WW, WR), RW),
    ("G2", (WW, WR, RW), ""),
    ("G0-realtime", (WW, RT), ""),
    ("G1c-realtime", (WW, WR, RT), ""),
    ("G-single-realtime", (WW, WR, RT), RW),
    ("G2-realtime", (WW, WR, RW, RT), ""),
)


def check(ops: Sequence[Op]) -> Verdict:
    """The verdict about all transactions."""
    found = transactions(ops)
    read = [t for t in found.all if t.known and t.reads]
    if not read:
        return verdict(NAME, 0, [])
    problems = _direct(found)
    orders, broken = version_orders(found.all)
    problems += broken
    graph = _graph(found.all, orders)
    for part in g.components(graph):
        problems.append(_named(found.all, graph, part))
    return verdict(NAME, len(found.all), problems)


def version_orders(
    among: Sequence[Transaction],
) -> tuple[dict[str, tuple[Json, ...]], list[str]]:
    """For each key the longest list that was read; every other one must be a beginning of it."""
    orders: dict[str, tuple[Json, ...]] = {}
    problems: list[str] = []
    reads = [(t, key, value) for t in among for key, value in t.reads.items()]
    for _, key, value in reads:
        if len(value) > len(orders.get(key, ())):
            orders[key] = value
    for transaction, key, value in reads:
        order = orders.get(key, ())
        if order[: len(value)] != value:
            problems.append(
                f"line {transaction.start}: incompatible order: {key} reads {list(value)}, "
                f"elsewhere {list(order)}"
            )
    for key, order in orders.items():
        if len(set(order)) < len(order):
            twice = sorted({str(v) for v in order if order.count(v) > 1})
            problems.append(f"{key} holds a value twice: {', '.join(twice)}")
    return orders, problems


def _direct(found: Transactions) -> list[str]:
    """G1a, G1b and values that nobody wrote."""
    last: dict[tuple[str, Json], Json] = {}
    for transaction in found.all:
        for key, values in transaction.appends.items():
            last |= {(key, value): values[-1] for value in values}
    problems: list[str] = []
    for transaction in found.all:
        for key, seen in transaction.reads.items():
            at = f"line {transaction.start}: {key} reads"
            for value in seen:
                if (key, value) in found.failed:
                    problems.append(f"{at} {value}, whose transaction failed (G1a)")
                elif (key, value) not in last:
                    problems.append(f"{at} {value}, which nobody wrote")
            if seen and last.get((key, seen[-1]), seen[-1]) != seen[-1]:
                problems.append(f"{at} {seen[-1]}, which its transaction followed up (G1b)")
    return problems


def _graph(among: Sequence[Transaction], orders: dict[str, tuple[Json, ...]]) -> g.Graph:
    writer = {
        (key, value): number
        for number, transaction in enumerate(among)
        for key, values in transaction.appends.items()
        for value in values
    }
    graph: g.Graph = defaultdict(dict)
    for key, order in orders.items():
        writers = [writer.get((key, value)) for value in order]
        for one, next_one in itertools.pairwise(writers):
            if one is not None and next_one is not None:
                g.add(graph, one, next_one, WW)
    for number, transaction in enumerate(among):
        for key, seen in transaction.reads.items():
            order = orders.get(key, ())
            if order[: len(seen)] != seen:
                continue  # told already
            wrote = writer.get((key, seen[-1])) if seen else None
            if wrote is not None:
                g.add(graph, wrote, number, WR)
            follows = writer.get((key, order[len(seen)])) if len(seen) < len(order) else None
            if follows is not None:
                g.add(graph, number, follows, RW)
    _never_read(graph, among, orders, writer)
    _real_time(graph, among)
    return graph


def _never_read(
    graph: g.Graph,
    among: Sequence[Transaction],
    orders: dict[str, tuple[Json, ...]],
    writer: dict[tuple[str, Json], int],
) -> None:
    """A value that was acknowledged and that nobody read comes after all that anybody read."""
    whole: dict[str, list[int]] = defaultdict(list)
    for number, transaction in enumerate(among):
        for key, seen in transaction.reads.items():
            if seen == orders.get(key, ()):
                whole[key].append(number)
    for number, transaction in enumerate(among):
        for key, values in transaction.appends.items():
            order = orders.get(key, ())
            if not transaction.known or values[0] in order:
                continue
            for reader in whole[key]:
                g.add(graph, reader, number, RW)
            last = writer.get((key, order[-1])) if order else None
            if last is not None:
                g.add(graph, last, number, WW)


def _real_time(graph: g.Graph, among: Sequence[Transaction]) -> None:
    """Edges from what had ended to what began later, only from those that no other one hides: an
    older one reaches it through a newer one."""
    events = sorted(
        [(t.start, 1, n) for n, t in enumerate(among)]
        + [(t.end, 0, n) for n, t in enumerate(among) if t.known]
    )
    hidden: dict[int, set[int]] = {}
    frontier: set[int] = set()
    for _, begins, number in events:
        if begins:
            hidden[number] = set(frontier)
            for before in frontier:
                g.add(graph, before, number, RT)
        else:
            frontier -= hidden[number]
            frontier.add(number)


def _named(among: Sequence[Transaction], graph: g.Graph, part: set[int]) -> str:
    """The worst cycle of a part, with why each of its transactions comes before the next."""
    for name, kinds, once in _KINDS:
        cycle = g.cycle(graph, part, kinds, once)
        if cycle is not None:
            allowed = {*kinds, once}
            steps = []
            for at, number in enumerate(cycle):
                following = cycle[(at + 1) % len(cycle)]
                kind = sorted(graph[number][following] & allowed, key=[WW, WR, RW, RT].index)[0]
                steps.append(f"{_told(among[number])} -{kind}->")
            return f"{name}: " + " ".join(steps) + " the first"
    return f"a cycle of {len(part)} transactions"  # every edge has one of the kinds: not reached


def _told(transaction: Transaction) -> str:
    reads = [f"r {key} {list(value)[-3:]}" for key, value in transaction.reads.items()]
    appends = [f"+ {key} {list(values)}" for key, values in transaction.appends.items()]
    return f"[line {transaction.start}: {'; '.join(reads + appends)}]"
