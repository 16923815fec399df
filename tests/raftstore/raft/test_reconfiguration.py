"""Changes of the membership on their way into the log."""

import pytest

from raftstore.errors import NotLeader, QueueFull, Refused
from raftstore.raft.changes import add, remove
from raftstore.raft.members import Disk
from raftstore.raft.requests import Outcome
from raftstore.raft.stock import use_clock
from tests.raftstore.raft.test_engine import Bench


@pytest.fixture
def bench():
    made = Bench(["a", "b", "c"])
    made.elect("a", ["b", "c"])
    made.replicas["a"].take_results()
    yield made
    use_clock(made.before)


def test_one_change_enters_the_log_at_a_time_and_each_is_answered(bench):
    leader = bench.replicas["a"]
    first = leader.change("first", add("d", "", voter=False))
    second = leader.change("second", add("e", "", voter=False))
    bench.turn("a")
    assert first.index is not None
    assert second.index is None
    bench.pass_on(["a", "b", "c"])
    assert dict(leader.take_results()) == {
        "first": Outcome(first.index),
        "second": Outcome(second.index),
    }
    assert {"d", "e"} <= set(leader.engine.config.members)


def test_a_change_that_changes_nothing_and_one_that_may_not_be_are_answered_at_once(bench):
    leader = bench.replicas["a"]
    leader.change("same", add("b", "", voter=True))
    leader.change("self", remove("a"))
    bench.turn("a")
    results = dict(leader.take_results())
    assert results["same"] == Outcome(leader.engine.config_index)
    assert isinstance(results["self"], Refused)


def test_a_withdrawn_change_never_enters_the_log(bench):
    leader = bench.replicas["a"]
    leader.change("gone", add("d", "", voter=False)).withdrawn = True
    bench.pass_on(["a", "b", "c"])
    assert "d" not in leader.engine.config.members
    assert leader.take_results() == []


def test_changes_that_wait_are_bounded_and_fail_with_the_leadership(bench):
    leader = bench.replicas["a"]
    most = leader._config.changes_waiting_max
    for number in range(most):
        leader.change(number, add("d", "", voter=False))
    with pytest.raises(QueueFull):
        leader.change("more", add("d", "", voter=False))
    leader.step_down()
    results = leader.take_results()
    assert [ticket for ticket, _ in results] == list(range(most))
    assert all(error.definite for _, error in results)
    with pytest.raises(NotLeader):
        bench.replicas["b"].change("t", add("d", "", voter=False))


def test_a_voter_that_has_not_founded_yet_keeps_its_vote_for_a_while(bench):
    leader = bench.replicas["a"]
    for name in ("b", "c"):
        leader.engine.connected(name, Disk(f"disk-{name}", founding=name == "b"))
    bench.now += 0.2
    bench.turn("a")
    bench.pass_on(["a", "b", "c"])
    members = leader.engine.config.members
    assert (members["b"].disk, members["c"].disk) == ("disk-b", "")
    assert leader.engine.config.voters == {"a", "b", "c"}
    for _ in range(40):  # it never does: it has lost the disk that it had founded on
        bench.now += 0.2
        bench.turn("a")
        bench.pass_on(["a", "b", "c"], rounds=3)
    assert leader.engine.config.members["c"].disk == "disk-c"
    assert "c" not in leader.engine.config.voters
