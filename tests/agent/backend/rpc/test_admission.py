"""Rates of handshakes and shares of memory, under a clock moved by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backend.rpc.admission import (
    HandshakeRates,
    Handshakes,
    Shares,
    site,
)

RATES = HandshakeRates(per_client=2.0, client_burst=3.0, in_all=5.0, burst=6.0)


def begun(handshakes: Handshakes, client: str, number: int, now: float, known: bool = False) -> int:
    return sum(not handshakes.refusal(client, now=now, known=known) for _ in range(number))


def test_a_client_has_a_burst_and_then_its_rate() -> None:
    handshakes = Handshakes(RATES)
    assert begun(handshakes, "1.1.1.1", 9, 100.0) == 3
    assert handshakes.refusal("1.1.1.1", now=100.0, known=False) == "handshakes of one client"
    assert begun(handshakes, "1.1.1.1", 9, 101.0) == 2
    assert begun(handshakes, "1.1.1.1", 9, 50.0) == 0  # a clock never runs back


def test_all_strangers_together_have_a_rate_and_servers_only_their_own() -> None:
    handshakes = Handshakes(RATES)
    assert sum(begun(handshakes, f"1.1.1.{n}", 1, 100.0) for n in range(20)) == 6
    assert handshakes.refusal("2.2.2.2", now=100.0, known=False) == "handshakes in all"
    assert begun(handshakes, "3.3.3.3", 9, 100.0, known=True) == 3
    assert sum(begun(handshakes, f"4.1.1.{n}", 1, 101.0) for n in range(20)) == 5


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 3), st.booleans()), max_size=60))
def test_nobody_ever_gets_more_than_burst_and_rate(knocks: list[tuple[int, float, bool]]) -> None:
    handshakes, now, begun_by, strangers = Handshakes(RATES), 0.0, Counter[int](), 0
    for client, pause, known in knocks:
        now += pause
        if not handshakes.refusal(str(client), now=now, known=known):
            begun_by[client] += 1
            strangers += not known
    slack = 1e-6
    assert all(n <= 3 + 2 * now + slack for n in begun_by.values())
    assert strangers <= 6 + 5 * now + slack


def test_many_addresses_are_remembered_in_bounds() -> None:
    most = 40
    handshakes = Handshakes(replace(RATES, clients_max=most))
    for number in range(most + 50):
        handshakes.refusal(str(number), now=0.0, known=True)
    assert len(handshakes._clients) == most


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("no:address", "no:address"),
        ("", ""),
    ],
)
def test_what_one_host_may_own_counts_as_one(client: str, expected: str) -> None:
    assert site(client) == expected


def test_a_client_holds_no_more_than_its_share() -> None:
    shares = Shares(100)
    assert shares.change("a", 100) and shares.change("b", 60)
    assert not shares.change("a", 1)
    assert shares.change("a", -1)  # giving back is never refused
    assert (shares.held("a"), shares.total) == (100, 160)
    for client, held in (("a", 100), ("b", 60)):
        shares.change(client, -held)
    assert shares.total == 0 and not shares._held
