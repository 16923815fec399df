"""Cycles are named by what they are made of, and honest stores have none."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jepsen_lite.checkers import Validity, serializable
from jepsen_lite.checkers.graph import Graph, components, cycle
from jepsen_lite.history import FAIL, INFO, INVOKE, OK, Json, Op
from tests.strategies import scaled

Steps = list[list[Json]]


def history(*ends: tuple[str, str, Steps]) -> list[Op]:
    """Lines (process, type, steps) in order; without steps a completion repeats its invocation."""
    open_steps: dict[str, Steps] = {}
    ops = []
    for index, (process, kind, steps) in enumerate(ends):
        if kind == INVOKE:
            open_steps[process] = steps
        shown: Json = list(steps or open_steps[process])
        ops.append(Op(index=index, process=process, type=kind, f="txn", value=shown))
    return ops


def r(key: str, *seen: int) -> list[Json]:
    return ["r", key, list(seen)]


def a(key: str, value: int) -> list[Json]:
    return ["append", key, value]


def one_after_the_other(*all_steps: Steps) -> list[Op]:
    lines: list[tuple[str, str, Steps]] = []
    for steps in all_steps:
        lines += [("p", INVOKE, steps), ("p", OK, steps)]
    return history(*lines)


def at_once(*all_steps: Steps) -> list[Op]:
    lines = [(f"p{n}", INVOKE, steps) for n, steps in enumerate(all_steps)]
    return history(*lines, *[(f"p{n}", OK, steps) for n, steps in enumerate(all_steps)])


@pytest.mark.parametrize(
    ("name", "ops"),
    [
        (
            "G0",
            at_once([a("x", 1), a("y", 1)], [a("x", 2), a("y", 2)], [r("x", 1, 2), r("y", 2, 1)]),
        ),
        ("G1c", at_once([a("x", 1), r("y", 1)], [a("y", 1), r("x", 1)])),
        (
            "G-single:",
            at_once([a("x", 1)], [a("x", 2), a("y", 1)], [r("x", 1), r("y", 1)], [r("x", 1, 2)]),
        ),
        ("G-single:", at_once([r("x"), a("x", 1)], [r("x"), a("x", 2)], [r("x", 1, 2)])),
        ("G2:", at_once([r("x"), a("y", 1)], [r("y"), a("x", 1)], [r("x", 1), r("y", 1)])),
        ("G-single-realtime", one_after_the_other([a("x", 1)], [r("x")], [r("x", 1)])),
        ("G-single-realtime", one_after_the_other([a("x", 1)], [r("x")])),
        ("incompatible order", at_once([a("x", 1)], [a("x", 2)], [r("x", 1)], [r("x", 2)])),
        ("nobody wrote", one_after_the_other([r("x", 7)])),
        ("twice", one_after_the_other([a("x", 1)], [r("x", 1, 1)])),
        ("G1b", at_once([a("x", 1), a("x", 2)], [r("x", 1)], [r("x", 1, 2)])),
    ],
)
def test_each_anomaly_is_named(name: str, ops: list[Op]) -> None:
    found = serializable.check(ops)
    assert found.validity is Validity.INVALID
    assert any(name in problem for problem in found.problems), found.problems


def test_a_value_of_a_failed_transaction_is_an_aborted_read() -> None:
    ops = history(
        ("p", INVOKE, [a("x", 1)]),
        ("p", FAIL, []),
        ("q", INVOKE, [["r", "x", None]]),
        ("q", OK, [r("x", 1)]),
    )
    assert "G1a" in serializable.check(ops).problems[0]


def test_an_unknown_transaction_may_show_up_late_or_never() -> None:
    ops = history(
        ("p", INVOKE, [a("x", 1)]),
        ("p", INFO, []),
        ("q", INVOKE, [["r", "x", None]]),
        ("q", OK, [r("x")]),
        ("q", INVOKE, [["r", "x", None]]),
        ("q", OK, [r("x", 1)]),
    )
    assert serializable.check(ops).validity is Validity.VALID
    assert serializable.check(ops[:4]).validity is Validity.VALID


def test_without_reads_nothing_is_known() -> None:
    assert serializable.check(one_after_the_other([a("x", 1)])).validity is Validity.UNKNOWN


def honest(seed: int, count: int, lie: bool = False) -> list[Op]:
    """Transactions of a store in memory that takes them one at a time; with ``lie`` one of them
    reads a list as it was before the last append."""
    rng = random.Random(seed)
    lists: dict[str, list[int]] = {"x": [], "y": [], "z": []}
    lines: list[tuple[str, str, Steps]] = []
    busy: dict[str, Steps | None] = {}
    value = 0
    for _ in range(count):
        process = f"p{rng.randrange(4)}"
        if process not in busy:
            steps: Steps = []
            for _ in range(rng.randint(1, 3)):
                value += 1
                key = rng.choice("xyz")
                steps.append(rng.choice([["r", key, None], a(key, value)]))
            lines.append((process, INVOKE, steps))
            done: Steps = []
            for kind, key, new in steps:
                assert isinstance(key, str)
                if kind == "r":
                    shown = list(lists[key])
                    if lie and len(shown) > 1 and rng.random() < 0.3:
                        shown = shown[:-1]
                    done.append(r(key, *shown))
                else:
                    assert isinstance(new, int)
                    lists[key].append(new)
                    done.append([kind, key, new])
            busy[process] = done
        else:
            done_steps = busy.pop(process)
            lines.append((process, INFO if rng.random() < 0.1 else OK, done_steps or []))
    return history(*lines)


@settings(max_examples=scaled(100), deadline=None)
@given(seed=st.integers(0, 100_000), count=st.integers(1, 120))
def test_an_honest_store_is_never_called_wrong(seed: int, count: int) -> None:
    assert serializable.check(honest(seed, count)).validity is not Validity.INVALID


def test_old_reads_are_found() -> None:
    found = [
        serializable.check(honest(seed, 200, lie=True)).validity is Validity.INVALID
        for seed in range(20)
    ]
    assert sum(found) > 15


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.integers(0, 8), st.sets(st.integers(0, 8)), max_size=9))
def test_parts_are_exactly_the_nodes_on_cycles(edges: dict[int, set[int]]) -> None:
    graph: Graph = {
        node: {target: {"ww"} for target in targets if target != node}
        for node, targets in edges.items()
    }
    reach = {node: _reached(graph, node) for node in range(9)}
    on_cycle = {node for node in range(9) if node in reach[node]}
    parts = components(graph)
    assert set().union(*parts) == on_cycle if parts else not on_cycle
    for part in parts:
        assert all(other in reach[node] for node in part for other in part)
        walked = cycle(graph, part, ("ww",))
        assert walked is not None
        assert all(walked[(at + 1) % len(walked)] in graph[node] for at, node in enumerate(walked))


def _reached(graph: Graph, source: int) -> set[int]:
    found: set[int] = set()
    waiting = [source]
    while waiting:
        for target in graph.get(waiting.pop(), {}):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found
