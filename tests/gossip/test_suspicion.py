"""How long a suspect has."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import suspicion
from gossip.config import GossipConfig
from gossip.suspicion import Suspicion
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
    assert not running.confirm("a")
    assert running.confirm("b")
    assert running.deadline == pytest.approx(111.381)
    assert not running.confirm("b")
    assert running.confirm("c")
    assert running.deadline == 104.0
    assert not running.confirm("d"), "enough have spoken"
    assert running.accusers == ["a", "b", "c"]


def test_without_possible_confirmations_the_wait_is_the_shortest() -> None:
    assert Suspicion("a", k=0, shortest_s=4.0, longest_s=24.0, now=0.0).deadline == 4.0


@given(st.integers(1, 10), st.integers(1, 100_000), st.integers(1, 12))
def test_more_confirmations_never_lengthen_the_wait(mult: int, n: int, most: int) -> None:
    config = dataclasses.replace(GossipConfig.lan("x"), suspicion_mult=mult)
    k, shortest, longest = suspicion.bounds(config, n)
    waits = [suspicion.timeout(c, k, shortest, longest) for c in range(most)]
    assert waits == sorted(waits, reverse=True)
    assert all(wait >= shortest for wait in waits)
