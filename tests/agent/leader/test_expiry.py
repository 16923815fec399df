"""A session ends within [TTL, TTL + 10 %] of its last renewal, whatever is done in between."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.leader.expiry import (
    CALM_GAP_MAX_S,
    CALM_LOOKS,
    MARGIN,
    RECENT_MAX,
    RETRY_S,
    Calm,
    Expiry,
    Since,
    Standing,
)

ALL = 1_000_000


def due(expiry: Expiry, now: float, count_max: int = ALL) -> tuple[str, ...]:
    return expiry.due(now, count_max=count_max, looks_max=ALL)


def test_a_session_ends_in_the_middle_of_the_promised_ten_percent() -> None:
    expiry = Expiry()
    expiry.learn("a", 10.0, 100.0, Since.CREATED)
    assert expiry.next_at() == pytest.approx(110.5)
    assert not expiry.over(110.49, looks_max=1) and due(expiry, 110.49) == ()
    assert expiry.over(110.5, looks_max=1) and due(expiry, 110.5) == ("a",)
    assert expiry.on_their_way == 1 and expiry.next_at() is None


def test_a_renewal_counts_from_its_arrival_and_is_remembered() -> None:
    expiry = Expiry()
    expiry.learn("a", 10.0, 0.0, Since.LED)
    for at in range(1, 8):
        assert expiry.renew("a", float(at)) is Standing.RUNNING
    timer = expiry.timer("a")
    assert timer is not None
    assert (timer.renewals, timer.recent, timer.since) == (7, (4.0, 5.0, 6.0, 7.0), Since.RENEWED)
    assert len(timer.recent) == RECENT_MAX
    assert not expiry.over(17.49, looks_max=2)
    assert expiry.next_at() == pytest.approx(17.5)  # it was filed anew when its first end came
    assert due(expiry, 17.5) == ("a",)


def test_a_renewal_is_too_late_once_the_end_is_on_its_way() -> None:
    expiry = Expiry()
    expiry.learn("a", 10.0, 0.0, Since.CREATED)
    assert expiry.renew("b", 1.0) is Standing.UNKNOWN
    assert expiry.over(11.0, looks_max=1)
    assert expiry.renew("a", 11.0) is Standing.RUNNING  # its time was over; nothing was done yet
    due(expiry, 22.0)
    assert expiry.renew("a", 22.0) is Standing.ENDING


@pytest.mark.parametrize("definite", [True, False])
def test_an_end_that_failed_is_tried_again(definite: bool) -> None:
    expiry = Expiry()
    expiry.learn("a", 10.0, 0.0, Since.CREATED)
    due(expiry, 20.0)
    expiry.failed("a", 20.0, definite=definite)
    assert expiry.on_their_way == 0 and expiry.next_at() == pytest.approx(20.0 + RETRY_S)
    # What may still happen cannot be taken back by a renewal; what will not happen can.
    wanted = Standing.RUNNING if definite else Standing.ENDING
    assert expiry.renew("a", 20.1) is wanted
    assert due(expiry, 20.3) == (() if definite else ("a",))
    if definite:
        assert due(expiry, 30.7) == ("a",)
    expiry.forget("a")
    assert (len(expiry), expiry.on_their_way, expiry.next_at()) == (0, 0, None)


def test_only_so_many_are_given_out_the_longest_over_first() -> None:
    expiry = Expiry()
    for number in range(10):
        expiry.learn(f"s{number}", 10.0, float(9 - number), Since.CREATED)
    assert due(expiry, 30.0, count_max=3) == ("s9", "s8", "s7")
    assert due(expiry, 30.0, count_max=3) == ("s6", "s5", "s4")
    assert expiry.on_their_way == 6


def test_one_look_costs_no_more_than_it_may() -> None:
    expiry = Expiry()
    for number in range(100):
        expiry.learn(str(number), 10.0, 0.0, Since.CREATED)
        expiry.renew(str(number), 5.0)
    assert not expiry.over(11.0, looks_max=30)
    assert expiry.next_at() == pytest.approx(10.5)  # seventy are still filed there
    assert expiry.due(11.0, count_max=100, looks_max=30) == ()
    assert not expiry.over(11.0, looks_max=41)
    assert expiry.next_at() == pytest.approx(15.5)


def test_a_session_is_learned_once_and_forgotten_once() -> None:
    expiry = Expiry()
    expiry.learn("a", 10.0, 0.0, Since.LED)
    expiry.learn("a", 10.0, 5.0, Since.CREATED)
    assert expiry.next_at() == pytest.approx(10.5)
    expiry.forget("a")
    expiry.forget("a")
    expiry.failed("a", 1.0, definite=True)  # the outcome of an end that came too late
    assert expiry.ids() == () and expiry.next_at() is None


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.955, 1.05), st.sampled_from([1.0, 10.0, 3600.0]))
def test_the_promise_holds_for_clients_and_a_leader_of_other_pace(
    seed: int, rate: float, ttl_s: float
) -> None:
    """The leader's clock runs ``rate`` seconds in one of the client's; its looks are exact."""
    rng, expiry, true_now = random.Random(seed), Expiry(), 0.0
    expiry.learn("a", ttl_s, 0.0, Since.CREATED)
    renewed_at = 0.0
    for _ in range(rng.randrange(20)):
        pause = rng.uniform(0.0, ttl_s)
        true_now += pause
        assert due(expiry, true_now * rate) == (), "it ended before its TTL was over"
        assert expiry.renew("a", true_now * rate) is Standing.RUNNING
        renewed_at = true_now
    while not due(expiry, true_now * rate):
        next_at = expiry.next_at()
        assert next_at is not None
        true_now = max(true_now, next_at / rate) + 1e-9 * ttl_s
    lived = true_now - renewed_at
    assert ttl_s * 0.9999 <= lived <= ttl_s * (1 + 2 * MARGIN) * 1.0001


class Terms(RuleBasedStateMachine):
    """Sessions that come, are renewed and go, over several leaders; beside it, what is promised."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.expiry = Expiry()
        self.counted: dict[str, tuple[float, float]] = {}  # session -> (TTL, counted from)
        self.late: dict[str, float] = {}  # sessions whose end failed -> when
        self.ending: set[str] = set()
        self.born = 0

    @rule(ttl_s=st.sampled_from([10.0, 15.0, 60.0]))
    def create(self, ttl_s: float) -> None:
        self.born += 1
        name = f"s{self.born}"
        self.counted[name] = (ttl_s, self.now)
        self.expiry.learn(name, ttl_s, self.now, Since.CREATED)

    @rule(number=st.integers(0, 100))
    def renew(self, number: int) -> None:
        name = f"s{number}"
        standing = self.expiry.renew(name, self.now)
        if name not in self.counted:
            assert standing is Standing.UNKNOWN
        elif name in self.ending:
            assert standing is Standing.ENDING
        else:
            assert standing is Standing.RUNNING
            self.counted[name] = (self.counted[name][0], self.now)

    @rule(number=st.integers(0, 100))
    def destroy(self, number: int) -> None:
        name = f"s{number}"
        self.expiry.forget(name)
        self.counted.pop(name, None)
        self.ending.discard(name)

    @rule()
    def another_leads(self) -> None:
        self.expiry = Expiry()
        self.ending.clear()
        for name, (ttl_s, _) in self.counted.items():
            self.counted[name] = (ttl_s, self.now)
            self.expiry.learn(name, ttl_s, self.now, Since.LED)

    @rule(seconds=st.floats(0.001, 12.0), outcome=st.sampled_from(["done", "definite", "unknown"]))
    def time_passes(self, seconds: float, outcome: str) -> None:
        until = self.now + seconds
        while True:
            at = self.expiry.next_at()
            if at is None or at > until:
                break
            self.now = max(self.now, at)
            for name in due(self.expiry, self.now):
                self.end(name, outcome)
        self.now = until

    def end(self, name: str, outcome: str) -> None:
        ttl_s, since = self.counted[name]
        retried = name in self.late and self.late.pop(name) > self.now - 2 * RETRY_S
        assert since + ttl_s <= self.now, "ended before its TTL was over"
        assert retried or self.now <= since + ttl_s * 1.1, "ended too late"
        if outcome == "done":
            self.expiry.forget(name)
            del self.counted[name]
            self.ending.discard(name)
        else:
            self.late[name] = self.now
            self.expiry.failed(name, self.now, definite=outcome == "definite")
            if outcome == "unknown":
                self.ending.add(name)
            else:
                self.ending.discard(name)

    @precondition(lambda self: not self.late)
    @invariant()
    def everything_is_over_in_time(self) -> None:
        for name, (ttl_s, since) in self.counted.items():
            assert self.now <= since + ttl_s * 1.1, f"{name} lives on"

    @invariant()
    def what_is_known_is_what_is_there(self) -> None:
        assert set(self.expiry.ids()) == set(self.counted)
        assert self.expiry.on_their_way == 0
        assert (self.expiry.next_at() is None) == (not self.counted)


TestTerms = Terms.TestCase
TestTerms.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)


def test_nothing_ends_before_the_loop_has_gone_round_without_a_gap() -> None:
    calm, now = Calm(), 100.0
    assert not calm.look(now)
    for step in range(1, CALM_LOOKS):
        assert not calm.look(now + step * 0.01)
    assert calm.look(now + CALM_LOOKS * 0.01)
    assert calm.look(now + CALM_LOOKS * 0.01 + CALM_GAP_MAX_S)  # still so while it goes round
    assert not calm.look(now + 10.0)  # a stall: everything from the start
    for step in range(1, CALM_LOOKS):
        assert not calm.look(now + 10.0 + step * 0.01)
    assert calm.look(now + 10.0 + CALM_LOOKS * 0.01)
