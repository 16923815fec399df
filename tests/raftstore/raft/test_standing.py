"""Why a server leads or does not, in one sentence for each case."""

from dataclasses import replace

import pytest

from raftstore.raft.elections import NO_LEADER_HEARD, NO_MAJORITY, WON, Attempt
from raftstore.raft.standing import Standing, why

ATTEMPT = Attempt(at=1.0, term=6, reason=NO_LEADER_HEARD, votes=("a",))
ALONE = Standing(
    node_id="a",
    role="follower",
    term=5,
    leader_id=None,
    fatal="",
    configured=True,
    member_role="voter",
    dismissed=False,
    remembers=True,
    last_contact_s=None,
    voters=frozenset("abc"),
    attempt=None,
    timer_s=1.25,
    transfer="",
)
FOLLOWER = replace(ALONE, leader_id="b", last_contact_s=0.1)
LEADER = replace(
    ALONE, role="leader", leader_id="a", attempt=replace(ATTEMPT, votes=("b", "a"), outcome=WON)
)


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        (replace(LEADER, fatal="OSError(5)"), "this server has failed and must stop: OSError(5)"),
        (replace(ALONE, configured=False), "neither bootstrapped nor added to a cluster"),
        (replace(ALONE, dismissed=True), "says that this server was removed"),
        (LEADER, "elected in term 5 by a, b"),
        (replace(LEADER, transfer="c, ordered"), "elected in term 5 by a, b; handing over to c, o"),
        (replace(FOLLOWER, remembers=False), "knows this server by another disk"),
        (replace(FOLLOWER, member_role=""), "not in the configuration"),
        (replace(FOLLOWER, member_role="staging"), "staging: it votes once it has caught up; b le"),
        (replace(FOLLOWER, member_role="non-voter"), "a non-voter by the configuration; b leads"),
        (FOLLOWER, "b leads term 5, heard 0.1 s ago"),
        (ALONE, "no leader is known; the election timer runs out in 1.2 s"),
        (replace(ALONE, attempt=replace(ATTEMPT, outcome=NO_MAJORITY)), "no leader is known; the"),
        (replace(ALONE, attempt=ATTEMPT), "pre-votes for term 6 came from a, a majority is 2 of 3"),
        (
            replace(ALONE, role="candidate", attempt=replace(ATTEMPT, campaigned=True)),
            "no leader is known: votes for term 6 came from a, a majority is 2 of 3, none came "
            "from b, c",
        ),
    ],
)
def test_each_standing_has_its_reason(standing, said):
    assert said in why(standing)
