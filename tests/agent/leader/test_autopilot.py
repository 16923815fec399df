"""Who is added, promoted, removed, and when the guard says no; then whole random lives."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.leader.autopilot import (
    ABSENT_GRACE_S,
    DEAD_GRACE_S,
    AddNonVoter,
    Judge,
    Peer,
    Plan,
    Promote,
    Readdress,
    Remove,
    Seen,
    Standing,
    View,
    failure_tolerance,
    plan,
)
from raftstore.records import AutopilotConfig
from tests.strategies import scaled

CONFIG = AutopilotConfig()
TERM, LAST = 3, 1000


def seen(name: str, standing: Standing = Standing.ALIVE, **changed: object) -> Seen:
    server = Seen(node_id=name, name=f"n-{name}", address=f"{name}:8300", standing=standing)
    return replace(server, **changed)  # type: ignore[arg-type]


def peer(name: str, *, voter: bool = True, **changed: object) -> Peer:
    made = Peer(
        node_id=name,
        address=f"{name}:8300",
        voter=voter,
        last_contact_s=0.1,
        last_index=LAST,
        last_term=TERM,
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def lost(name: str, *, voter: bool = True) -> Peer:
    return peer(name, voter=voter, last_contact_s=60.0)


def view(peers: list[Peer], servers: list[Seen], *, settled: bool = True) -> View:
    return View(
        own_id="a",
        term=TERM,
        last_index=LAST,
        settled=settled,
        peers=tuple(peers),
        seen=tuple(servers),
    )


def after(
    seconds: float, looked: View, config: AutopilotConfig = CONFIG, *, before: View | None = None
) -> Plan:
    """The plan when this has been the picture for so long (and ``before`` was the one at 0)."""
    judge = Judge()
    judge.judge(before or looked, config, 0.0)
    judge.judge(looked, config, 0.0)
    return plan(judge.judge(looked, config, seconds), looked, config, seconds)


def three(*standings: Standing) -> View:
    """Voters a (the leader), b and c, of which the last ones stand as given."""
    names = ["a", "b", "c"]
    standing = dict(zip(reversed(names), reversed(standings), strict=False))
    alive = Standing.ALIVE
    return view(
        [peer(n) if standing.get(n, alive) is alive or n == "a" else lost(n) for n in names],
        [seen(n, standing.get(n, alive)) for n in names],
    )


def test_a_healthy_cluster_needs_nothing() -> None:
    assert after(100, three()) == Plan(None, {})


def test_a_new_server_is_added_without_a_vote_and_promoted_when_it_has_been_stable() -> None:
    looked = view([peer("a")], [seen("a"), seen("b")])
    assert after(0, looked).action == AddNonVoter("b", "b:8300", "a server that gossip shows alive")
    looked = view([peer("a"), peer("b", voter=False)], [seen("a"), seen("b")])
    young = after(9.9, looked)
    assert young.action is None
    assert young.waiting == {"b": "healthy, votes in 0s"}
    assert after(10, looked).action == Promote("b", "healthy for 10s")


@pytest.mark.parametrize(
    ("ill", "reason"),
    [
        ({"last_contact_s": None}, "has not answered yet"),
        ({"last_contact_s": 0.36}, "last contact 0.4s ago"),
        ({"last_index": LAST - 251}, "251 entries behind"),
        ({"last_term": TERM - 1}, "has no entry of this term yet"),
    ],
)
def test_a_server_that_is_not_healthy_is_not_promoted(ill: dict[str, object], reason: str) -> None:
    looked = view([peer("a"), peer("b", voter=False, **ill)], [seen("a"), seen("b")])
    made = after(1000, looked)
    assert made.action is None
    assert made.waiting == {"b": reason}


def test_the_limits_of_health_are_those_of_the_configuration() -> None:
    config = replace(CONFIG, last_contact_threshold_s=2.0, max_trailing_logs=300)
    late = peer("b", voter=False, last_contact_s=2.1, last_index=LAST - 300)
    looked = view([peer("a"), late], [seen("a"), seen("b")])
    assert after(10, looked, config).action == Promote("b", "healthy for 10s")


def test_a_hiccup_starts_the_stabilization_anew() -> None:
    judge, ill = Judge(), view([peer("a"), lost("b", voter=False)], [seen("a"), seen("b")])
    well = view([peer("a"), peer("b", voter=False)], [seen("a"), seen("b")])
    judge.judge(well, CONFIG, 0.0)
    judge.judge(ill, CONFIG, 5.0)
    judge.judge(well, CONFIG, 6.0)
    assert plan(judge.judge(well, CONFIG, 15.9), well, CONFIG, 15.9).action is None
    assert plan(judge.judge(well, CONFIG, 16.0), well, CONFIG, 16.0).action is not None


def test_a_server_that_asks_never_to_vote_never_does() -> None:
    looked = view([peer("a"), peer("b", voter=False)], [seen("a"), seen("b", non_voter=True)])
    assert after(1000, looked) == Plan(None, {"b": "asks never to vote"})


def test_a_server_is_promoted_once_and_raft_waits_until_it_has_caught_up() -> None:
    looked = view([peer("a"), peer("b", voter=False, staging=True)], [seen("a"), seen("b")])
    assert after(1000, looked) == Plan(None, {"b": "votes as soon as it has caught up"})


def test_a_dead_voter_is_removed_when_the_others_are_healthy() -> None:
    looked = three(Standing.FAILED)
    assert after(DEAD_GRACE_S - 0.1, looked).action is None
    assert after(DEAD_GRACE_S, looked).action == Remove("c", "failed for 10s")


def test_a_dead_voter_stays_when_the_rest_has_no_healthy_majority() -> None:
    made = after(1000, three(Standing.FAILED, Standing.FAILED))
    assert made.action is None
    assert "only 1 of the 2 voters that would remain are healthy" in made.waiting["b"]


def test_a_dead_voter_stays_when_too_few_would_remain() -> None:
    made = after(1000, three(Standing.FAILED), replace(CONFIG, min_quorum=3))
    assert made.action is None
    assert "2 voters would remain, min_quorum is 3" in made.waiting["c"]
    assert after(1000, three(Standing.FAILED), replace(CONFIG, min_quorum=2)).action is not None


def test_a_dead_server_stays_when_cleaning_up_is_switched_off() -> None:
    made = after(1000, three(Standing.FAILED), replace(CONFIG, cleanup_dead_servers=False))
    assert made.action is None
    assert "cleanup_dead_servers is off" in made.waiting["c"]


def test_a_server_that_left_is_removed_at_once_and_in_any_case() -> None:
    config = replace(CONFIG, cleanup_dead_servers=False, min_quorum=3)
    assert after(0, three(Standing.LEFT), config).action == Remove("c", "left")


def test_dead_servers_without_a_vote_go_first_and_without_a_guard() -> None:
    looked = three(Standing.FAILED, Standing.FAILED)
    looked = replace(
        looked,
        peers=(*looked.peers, lost("z", voter=False)),
        seen=(*looked.seen, seen("z", Standing.FAILED)),
    )
    assert after(20, looked).action == Remove("z", "failed for 20s")


def test_a_failed_server_that_raft_still_hears_is_not_dead() -> None:
    looked = view([peer("a"), peer("b"), peer("c")], [seen("a"), seen("b", Standing.FAILED)])
    assert after(30, looked).action is None


def test_a_server_that_gossip_has_not_shown_yet_gets_more_time() -> None:
    looked = view([peer("a"), peer("b"), lost("c")], [seen("a"), seen("b")])
    assert after(ABSENT_GRACE_S - 1, looked).action is None
    assert after(ABSENT_GRACE_S, looked).action == Remove("c", "not seen for 60s")


def test_the_former_id_of_a_wiped_server_goes_as_soon_as_the_new_one_is_there() -> None:
    looked = view(
        [peer("a"), peer("b"), lost("c")],
        [seen("a"), seen("b"), seen("d", address="c:8300")],
    )
    assert after(0, looked).action == Remove("c", "server d is at its address now")


def test_nothing_happens_while_a_change_is_on_its_way() -> None:
    looked = replace(three(Standing.LEFT), settled=False)
    made = after(1000, looked)
    assert made.action is None
    assert "not committed" in made.waiting["a"]


def test_a_server_that_is_about_to_leave_is_neither_added_nor_removed() -> None:
    leaving = seen("b", Standing.LEAVING)
    assert after(1000, view([peer("a")], [seen("a"), leaving])).action is None
    looked = view([peer("a"), peer("c"), lost("b")], [seen("a"), seen("c"), leaving])
    assert after(1000, looked).action is None


def test_the_leader_is_never_removed_whatever_gossip_says_of_it() -> None:
    for standing in (Standing.FAILED, Standing.LEFT):
        looked = view(
            [peer("a"), peer("b"), peer("c")], [seen("a", standing), seen("b"), seen("c")]
        )
        assert after(1000, looked).action is None


def test_a_server_that_moved_is_written_down_last() -> None:
    looked = view(
        [peer("a"), peer("b"), peer("c")], [seen("a"), seen("b", address="b2:8300"), seen("c")]
    )
    assert after(0, looked).action == Readdress("b", "b2:8300", True, "moved from b:8300")


def test_failure_tolerance_counts_healthy_voters_over_the_quorum() -> None:
    judge = Judge()

    def of(looked: View) -> tuple[int, int]:
        return failure_tolerance(judge.judge(looked, CONFIG, 0.0))

    assert of(view([peer("a")], [seen("a")])) == (0, 0)
    assert of(three()) == (1, 1)
    assert of(three(Standing.FAILED)) == (0, 0)
    with_spare = replace(
        three(), peers=(*three().peers, peer("d", voter=False)), seen=(*three().seen, seen("d"))
    )
    assert of(with_spare) == (1, 2)


# -- whatever the picture ------------------------------------------------------------------------

NAMES = ("a", "b", "c", "d", "e", "f")
standings = st.sampled_from(list(Standing))
peers_ = st.builds(
    peer,
    st.sampled_from(NAMES),
    voter=st.booleans(),
    last_contact_s=st.sampled_from([None, 0.0, 0.2, 1.0, 30.0]),
    last_index=st.sampled_from([0, LAST - 300, LAST]),
    last_term=st.sampled_from([TERM - 1, TERM]),
    address=st.sampled_from(["a:8300", "b:8300", "x:8300"]),
)
seen_ = st.builds(
    seen,
    st.sampled_from(NAMES),
    standings,
    non_voter=st.booleans(),
    address=st.sampled_from(["a:8300", "b:8300", "x:8300", "y:8300"]),
)
configs = st.builds(
    AutopilotConfig, cleanup_dead_servers=st.booleans(), min_quorum=st.integers(0, 4)
)


@given(
    st.lists(peers_, max_size=6, unique_by=lambda p: p.node_id),
    st.lists(seen_, max_size=6, unique_by=lambda s: s.node_id),
    configs,
    st.sampled_from([0.0, 9.0, 10.0, 59.0, 61.0]),
)
def test_no_change_ever_costs_the_quorum(
    peers: list[Peer], servers: list[Seen], config: AutopilotConfig, seconds: float
) -> None:
    peers = [peer("a"), *[p for p in peers if p.node_id != "a"]]
    looked = view(peers, servers)
    judge = Judge()
    judge.judge(looked, config, 0.0)
    verdicts = judge.judge(looked, config, seconds)
    action = plan(verdicts, looked, config, seconds).action
    if isinstance(action, Remove):
        one = next(v for v in verdicts if v.node_id == action.node_id)
        assert action.node_id != "a"
        assert one.standing is not Standing.ALIVE
        if one.standing is not Standing.LEFT:
            assert config.cleanup_dead_servers
            rest = [v for v in verdicts if v.voter and v.node_id != one.node_id]
            if one.voter:
                assert sum(v.healthy for v in rest) > len(rest) / 2
                assert len(rest) >= config.min_quorum
    elif isinstance(action, Promote):
        one = next(v for v in verdicts if v.node_id == action.node_id)
        assert one.healthy
        assert not one.voter
        assert seconds >= config.server_stabilization_time_s
    elif isinstance(action, AddNonVoter):
        assert action.node_id not in {p.node_id for p in peers}


@settings(max_examples=scaled(50))
@given(st.integers(0, 2**32))
def test_a_random_life_ends_with_exactly_the_living_voting(seed: int) -> None:
    """Servers die, are wiped, join and leave; then it is calm, and the planner tidies up."""
    rng = random.Random(seed)
    living = {"a", "s1", "s2"}
    voters: dict[str, bool] = dict.fromkeys(living, True)
    gone: dict[str, Standing] = {}
    judge, made = Judge(), 3
    for second in range(400):
        if second < 200 and rng.random() < 0.05:
            event, others = rng.choice(["die", "join", "leave", "back"]), sorted(living - {"a"})
            quorate = sum(voters.get(n, False) for n in living) * 2 > sum(voters.values()) + 2
            if event == "join" and len(living) < 7:
                living.add(f"s{made}")
                made += 1
            elif event == "back" and gone:
                name = rng.choice(sorted(gone))
                del gone[name]
                living.add(name)
            elif event in {"die", "leave"} and others and quorate:
                name = rng.choice(others)
                living.discard(name)
                gone[name] = Standing.FAILED if event == "die" else Standing.LEFT
        alive_votes = sum(voters.get(n, False) for n in living)
        assert alive_votes * 2 > sum(voters.values()), f"quorum lost, seed {seed}"
        looked = view(
            [
                peer(n, voter=v) if n in living else lost(n, voter=v)
                for n, v in sorted(voters.items())
            ],
            [seen(n) for n in sorted(living)] + [seen(n, s) for n, s in sorted(gone.items())],
        )
        match plan(judge.judge(looked, CONFIG, second), looked, CONFIG, second).action:
            case AddNonVoter(node_id):
                voters[node_id] = False
            case Promote(node_id):
                voters[node_id] = True
            case Remove(node_id):
                del voters[node_id]
    assert voters == dict.fromkeys(living, True), f"seed {seed}"
