"""Every endpoint in its turn."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from proxy.balance.round_robin import RoundRobin
from proxy.source import Endpoint


def endpoints(count: int) -> list[Endpoint]:
    return [Endpoint(address="10.0.0.1", port=port) for port in range(1, count + 1)]


@given(st.integers(1, 20), st.integers(0, 1 << 20), st.integers(1, 5))
def test_turns_are_equal_and_candidates_differ(size: int, start: int, count: int) -> None:
    policy = RoundRobin(endpoints(size), start=start)
    picked: Counter[Endpoint] = Counter()
    for _ in range(size * 3):
        candidates = policy.candidates(count)
        assert len(candidates) == len(set(candidates)) == min(count, size)
        picked[candidates[0]] += 1
    assert set(picked.values()) == {3}


def test_an_update_is_used_at_once_and_none_is_an_answer() -> None:
    policy = RoundRobin(endpoints(3))
    policy.update([])
    assert policy.candidates(3) == ()
    policy.update(endpoints(1))
    assert policy.candidates(3) == tuple(endpoints(1))
