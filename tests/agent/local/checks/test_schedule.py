"""When checks are due: never twice at once, never early, never forgotten."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.local.checks.schedule import Schedule
from raftstore.records import CheckId

A, T = CheckId("a"), CheckId("t")


@given(st.integers(0, 10_000), st.floats(0.01, 1000))
def test_the_first_run_comes_within_one_interval(seed: int, interval: float) -> None:
    schedule = Schedule(random.Random(seed))
    schedule.add_probe(A, interval, 50.0)
    assert schedule.deadline is not None
    assert 50.0 <= schedule.deadline <= 50.0 + max(1.0, interval)


def test_the_next_run_comes_an_interval_after_the_end() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add_probe(A, 10.0, 0.0)
    assert schedule.due(10.0) == ([A], [])
    assert schedule.deadline is None  # it runs: nothing is due
    assert schedule.due(1000.0) == ([], [])
    schedule.ended(A, 25.0)
    assert schedule.deadline == 35.0


def test_intervals_below_a_second_are_raised() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add_probe(A, 0.001, 0.0)
    schedule.due(1.0)
    schedule.ended(A, 5.0)
    assert schedule.deadline == 6.0


def test_an_end_that_is_none_changes_nothing() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add_probe(A, 10.0, 0.0)
    due = schedule.deadline
    schedule.ended(A, 500.0)  # the end of a probe whose check was replaced meanwhile
    assert schedule.deadline == due


def test_a_worthless_result_is_repeated_at_once() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add_probe(A, 10.0, 0.0)
    schedule.due(10.0)
    schedule.ended(A, 12.0, again=True)
    assert schedule.due(12.0) == ([A], [])


def test_a_ttl_expires_once_unless_it_is_refreshed() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add_ttl(T, 10.0, 0.0)
    schedule.refresh(T, 5.0)
    assert schedule.due(14.9) == ([], [])
    assert schedule.deadline == 15.0
    assert schedule.due(15.0) == ([], [T])
    assert schedule.due(1000.0) == ([], [])
    schedule.refresh(T, 1000.0)
    assert schedule.due(1010.0) == ([], [T])


def test_a_kept_ttl_has_only_what_is_left_of_it() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add_ttl(T, 10.0, 0.0, left_s=3.0)
    assert schedule.deadline == 3.0


def test_a_ttl_gets_back_the_time_in_which_the_process_stood_still() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add_ttl(T, 10.0, 0.0)
    schedule.forgive(30.0, 35.0)  # not more than its own time
    assert schedule.due(44.9) == ([], [])
    assert schedule.due(45.0) == ([], [T])


def test_what_is_removed_is_not_due_and_may_be_added_anew() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add_probe(A, 10.0, 0.0)
    schedule.due(10.0)
    schedule.remove(A)
    schedule.ended(A, 11.0)
    assert schedule.deadline is None and len(schedule) == 0
    schedule.add_ttl(A, 5.0, 20.0)
    assert schedule.due(25.0) == ([], [A])


def test_a_hastened_probe_runs_at_once_and_soon_again_until_it_passes() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add_probe(A, 10.0, 0.0)
    schedule.hasten(A, 0.0)
    assert schedule.due(0.0) == ([A], [])
    schedule.ended(A, 0.1)
    assert schedule.deadline is not None
    assert schedule.deadline <= 0.5
    started = schedule.deadline
    assert schedule.due(started) == ([A], [])
    schedule.settle(A, started)
    schedule.ended(A, 1.0)
    assert schedule.deadline == 11.0


def test_haste_that_leads_to_nothing_ends_in_the_checks_own_interval() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add_probe(A, 10.0, 0.0)
    schedule.hasten(A, 0.0)
    runs, now = 0, 0.0
    while now < 100.0:
        assert schedule.due(now) == ([A], [])
        runs += 1
        schedule.ended(A, now)
        assert schedule.deadline is not None
        assert schedule.deadline - now <= max(0.5, now / 2)  # late by a part of what was waited
        now = schedule.deadline
    assert runs < 40
    schedule.due(now)
    schedule.ended(A, now)
    assert schedule.deadline == now + 10.0


def test_a_probe_that_was_under_way_before_does_not_end_the_haste() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add_probe(A, 10.0, 0.0)
    schedule.due(10.0)
    schedule.hasten(A, 11.0)
    assert schedule.deadline is None  # never twice at once
    schedule.settle(A, 10.0)
    schedule.ended(A, 12.0)
    assert schedule.deadline is not None
    assert schedule.deadline <= 12.5


def test_ttl_checks_are_not_hastened() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add_ttl(T, 10.0, 0.0)
    schedule.hasten(T, 1.0)
    schedule.hasten(A, 1.0)  # unknown
    assert schedule.deadline == 10.0


class ManyChecks(RuleBasedStateMachine):
    """Random lives of some checks, against the rules that matter."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule(random.Random(0))
        self.now = 0.0
        self.running: set[CheckId] = set()
        self.not_before: dict[CheckId, float] = {}
        self.known: set[CheckId] = set()

    ids = st.sampled_from([CheckId(x) for x in "abcd"])

    @rule(check=ids, interval=st.floats(0.1, 20))
    def add(self, check: CheckId, interval: float) -> None:
        self.schedule.add_probe(check, interval, self.now)
        self.running.discard(check)  # the runner cancels the probe of what it replaces
        self.known.add(check)
        self.not_before[check] = self.now

    @rule(check=ids)
    def remove(self, check: CheckId) -> None:
        self.schedule.remove(check)
        self.running.discard(check)
        self.known.discard(check)

    @rule(check=ids)
    def hasten(self, check: CheckId) -> None:
        self.schedule.hasten(check, self.now)
        self.not_before[check] = self.now

    @rule(seconds=st.floats(0, 30))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        probes, expired = self.schedule.due(self.now)
        assert expired == []
        for check in probes:
            assert check in self.known
            assert check not in self.running, "two probes of one check at once"
            assert self.now >= self.not_before[check]
            self.running.add(check)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        check = data.draw(st.sampled_from(sorted(self.running)))
        self.running.discard(check)
        if data.draw(st.booleans()):
            self.schedule.settle(check, self.now)
        self.schedule.ended(check, self.now)
        self.not_before[check] = self.now + 0.199

    @invariant()
    def whatever_does_not_run_is_due_some_time(self) -> None:
        idle = self.known - self.running
        assert (self.schedule.deadline is not None) == bool(idle)


TestManyChecks = ManyChecks.TestCase
TestManyChecks.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
