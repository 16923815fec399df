"""How long a suspect has."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import suspicion
from gossip.config import GossipConfig
from gossip.suspicion import Suspicion, Suspicions
from tests.gossip import vectors

PROFILES = {"lan": GossipConfig.lan, "wan": GossipConfig.wan, "local": GossipConfig.local}


@pytest.mark.parametrize(
    "row", vectors.load()["suspicion_timeouts"], ids=lambda r: f"{r['profile']}-{r['n']}"
)
def test_the_timeouts_equal_the_recorded_ones(row: dict[str, Any]) -> None:
    k, shortest, longest = suspicion.bounds(PROFILES[row["profile"]]("x"), row["n"])
    assert k == row["k"]
    assert shortest == pytest.approx(row["min_s"], abs=1e-9)
    assert longest == pytest.approx(row["max_s"], abs=1e-9)
    got = [suspicion.timeout(c, k, shortest, longest) for c in range(k + 1)]
    assert got == pytest.approx(row["timeout_by_confirmations_s"], abs=1e-9)


def test_each_new_accuser_shortens_the_wait_and_a_known_one_does_not() -> None:
    running = Suspicion("a", k=2, shortest_s=4.0, longest_s=24.0, now=100.0)
    assert running.deadline == 124.0
    assert not running.confirm("a", now=110.0)
    assert running.confirm("b", now=110.0)
    assert running.deadline == pytest.approx(111.381)
    assert not running.confirm("b", now=110.0)
    assert running.confirm("c", now=110.0)
    assert running.deadline == 104.0
    assert not running.confirm("d", now=110.0), "enough have spoken"
    assert running.accusers == ["a", "b", "c"]


def test_late_confirmations_leave_time_to_refute_and_never_lengthen_the_wait() -> None:
    running = Suspicion("a", k=2, shortest_s=4.0, longest_s=24.0, now=100.0)
    assert running.confirm("b", now=110.0, not_before=121.0)
    assert running.deadline == 121.0
    assert running.confirm("c", now=110.0, not_before=130.0)
    assert running.deadline == 121.0


def test_without_possible_confirmations_the_wait_is_the_shortest() -> None:
    assert Suspicion("a", k=0, shortest_s=4.0, longest_s=24.0, now=0.0).deadline == 4.0


@given(st.integers(1, 10), st.integers(1, 100_000), st.integers(1, 12))
def test_more_confirmations_never_lengthen_the_wait(mult: int, n: int, most: int) -> None:
    config = dataclasses.replace(GossipConfig.lan("x"), suspicion_mult=mult)
    k, shortest, longest = suspicion.bounds(config, n)
    waits = [suspicion.timeout(c, k, shortest, longest) for c in range(most)]
    assert waits == sorted(waits, reverse=True)
    assert all(wait >= shortest for wait in waits)


def test_without_lifeguard_the_wait_is_the_shortest_whoever_confirms() -> None:
    config = dataclasses.replace(GossipConfig.lan("x"), lha_suspicion=False)
    assert suspicion.bounds(config, 128)[0] == 0
    assert suspicion.bounds(config, 128)[1:] == suspicion.bounds(GossipConfig.lan("x"), 128)[1:]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["start", "confirm", "forget", "wait"]),
            st.sampled_from("abcd"),
            st.integers(0, 30),
        ),
        max_size=60,
    )
)
def test_the_next_to_run_out_is_the_one_that_a_walk_over_all_finds(
    steps: list[tuple[str, str, int]],
) -> None:
    running: dict[str, Suspicion] = {}
    suspicions = Suspicions()
    now = 0.0
    for verb, name, number in steps:
        if verb == "start" and name not in running:
            begun = Suspicion("first", k=2, shortest_s=4.0, longest_s=24.0, now=now)
            suspicions.start(name, begun)
            running[name] = begun
        elif verb == "confirm":
            before = running[name].confirmations if name in running else 2
            assert suspicions.confirm(name, f"accuser{number % 3}", now=0.0) == (
                name in running and running[name].confirmations > before
            )
        elif verb == "forget":
            suspicions.forget(name)
            running.pop(name, None)
        elif verb == "wait":
            now += number
            due = suspicions.take_due(now)
            ends = [suspicion.deadline for _, suspicion in due]
            assert ends == sorted(ends)
            assert {n for n, _ in due} == {n for n, s in running.items() if s.deadline <= now}
            for gone, _ in due:
                del running[gone]
        assert set(suspicions) == set(running)
        assert suspicions.deadline == min((s.deadline for s in running.values()), default=math.inf)
