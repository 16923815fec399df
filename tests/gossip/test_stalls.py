"""A loop that stood still blames itself: void probes, suspicions that wait, and bounds on both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.stalls import Stalls
from gossip.wire.messages import Ack, Ping, State, Suspect
from tests.gossip.test_swim import Bench, alive


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(-5, 5)), max_size=30))
def test_a_stall_is_the_time_in_which_the_timer_was_due_and_nothing_came_in(
    steps: list[tuple[float, float]],
) -> None:
    stalls, now, total = Stalls(min_s=0.5, excuses_max=2), 0.0, 0.0
    for wait_s, due_in_s in steps:
        due = now + due_in_s
        before, now = now, now + wait_s
        found = None if stalls.quiet(now) else stalls.found(due, now)
        late = now - max(due, before)
        assert (found is not None) == (late >= 0.5)
        if found is not None:
            assert found.length_s == late
            assert stalls.last == found
            total += late
    assert total <= now


def resumed(bench: Bench, after_s: float) -> None:
    """The process did not run for so long; then its timer fires."""
    bench.now += after_s
    bench.swim.notice_time(bench.now)
    bench.swim.tick(bench.now)


def test_a_probe_during_which_we_stood_still_is_void_and_made_again_at_once() -> None:
    bench = Bench(5)
    _, ping = bench.until_ping()
    bench.take()
    resumed(bench, 7.0)
    (again,) = [sent for _, sent in bench.sent(Ping)]
    assert again.node == ping.node
    assert again.seq_no != ping.seq_no
    assert bench.state(ping.node) is State.ALIVE
    assert bench.swim.awareness.score == 1
    assert bench.swim._stats.probes_void == 1
    bench.now += 0.01
    bench.receive(Ack(again.seq_no))
    assert bench.swim.awareness.score == 0
    assert not bench.swim.suspicions


def test_with_the_rule_off_the_verdict_stands() -> None:
    bench = Bench(5, stall_min_s=0.0)
    _, ping = bench.until_ping()
    resumed(bench, 7.0)
    bench.after(0.0)
    assert bench.state(ping.node) is State.SUSPECT


def test_a_suspicion_waits_as_long_as_we_stood_still() -> None:
    bench = Bench(5)
    bench.receive(Suspect(1, "n3", "n1"))
    running = bench.swim.suspicions.get("n3")
    assert running is not None
    ends = running.deadline
    resumed(bench, 100.0)
    assert bench.state("n3") is State.SUSPECT
    assert running.deadline == pytest.approx(ends + 100.0, abs=1.0)
    assert running.figures.excused_s == pytest.approx(100.0, abs=1.0)
    bench.receive(alive("n3", 5, 2))
    assert bench.state("n3") is State.ALIVE


def test_a_suspicion_that_was_nearly_over_leaves_time_to_read_what_waits() -> None:
    bench = Bench(5)
    bench.receive(Suspect(1, "n3", "n1"))
    running = bench.swim.suspicions.get("n3")
    assert running is not None
    bench.after(running.deadline - bench.now - 0.001)
    assert bench.state("n3") is State.SUSPECT
    resumed(bench, 10.0)
    assert running.deadline >= bench.now + 1.0


def test_a_loop_that_always_stands_still_is_not_excused_for_ever() -> None:
    bench = Bench(1)
    bench.until_ping()
    for _ in range(5):
        resumed(bench, 9.0)
    assert bench.swim._stats.probes_void == 4
    assert bench.state("n0") is State.SUSPECT
