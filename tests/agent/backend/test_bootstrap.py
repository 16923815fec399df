"""Two sets of servers never both become a cluster."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.backend.bootstrap import Bootstrap, Candidate, View
from tests.strategies import scaled


def server(node_id: str, expect: int = 3) -> Candidate:
    return Candidate(node_id=node_id, address=f"{node_id}:8300", expect=expect)


def name(ids: frozenset[str]) -> str:
    return "cluster-" + "".join(sorted(ids))


def test_waits_for_as_many_servers_as_expected() -> None:
    one = Bootstrap(own_id="a", expect=3)
    assert not one.seen((server("a"), server("b")))
    assert "2 of 3" in one.reason
    assert one.seen((server("a"), server("b"), server("c")))


def test_one_server_too_many_forms_nothing() -> None:
    one = Bootstrap(own_id="a", expect=3)
    assert not one.seen(tuple(server(i) for i in "abcd"))
    assert "one too many" in one.reason


def test_servers_that_expect_another_number_stop_it() -> None:
    one = Bootstrap(own_id="a", expect=3)
    assert not one.seen((server("a"), server("b"), server("c", expect=5)))
    assert "disagree" in one.reason


def test_goes_ahead_when_all_say_the_same() -> None:
    one = Bootstrap(own_id="a", expect=3)
    one.seen((server("a"), server("b"), server("c")))
    same = View(frozenset("abc"), "")
    assert not one.agreed({"b": same}, cluster_id="x")
    assert one.agreed({"b": same, "c": same}, cluster_id="x")


def test_a_member_of_our_own_cluster_counts_as_agreeing() -> None:
    one = Bootstrap(own_id="a", expect=2)
    one.seen((server("a", 2), server("b", 2)))
    assert one.agreed({"b": View(frozenset(), "x")}, cluster_id="x")


def test_a_member_of_another_cluster_stops_it() -> None:
    one = Bootstrap(own_id="d", expect=3)
    one.seen((server("a"), server("b"), server("d")))
    views = {i: View(frozenset("abd"), "old") for i in "ab"}
    assert not one.agreed(views, cluster_id="new")
    assert "in a cluster already" in one.reason


def test_a_pin_that_was_told_is_kept_against_disagreement() -> None:
    one = Bootstrap(own_id="a", expect=3)
    one.seen((server("a"), server("b"), server("c")))
    assert one.asked() == frozenset("abc")
    assert not one.agreed(
        {"b": View(frozenset("abd"), ""), "c": View(frozenset("abc"), "")}, cluster_id="x"
    )
    assert one.pinned.keys() == set("abc")


@given(st.integers(0, 2**32), st.integers(4, 6), st.integers(5, 80))
@settings(max_examples=scaled(200))
def test_clusters_that_form_never_have_disjoint_majorities(
    seed: int, servers: int, steps: int
) -> None:
    """Any views at any time, as long as gossip loses nobody: at most one quorum can exist."""
    rng = random.Random(seed)
    names = "abcdef"[:servers]
    parts = {i: Bootstrap(own_id=i, expect=3) for i in names}
    formed: dict[str, frozenset[str]] = {}
    visible: dict[str, set[str]] = {i: {i} for i in names}
    for _ in range(steps):
        me = rng.choice(names)
        visible[me].add(rng.choice(names))
        part = parts[me]
        if me in formed or not part.seen(tuple(server(i) for i in sorted(visible[me]))):
            continue
        views = {}
        for other in sorted(part.pinned):
            if other != me and rng.random() < 0.9:
                theirs = parts[other]
                theirs.seen(tuple(server(i) for i in sorted(visible[other])))
                cluster = name(formed[other]) if other in formed else ""
                views[other] = View(theirs.asked(), cluster)
        wanted = frozenset(part.pinned)
        if part.agreed(views, cluster_id=name(wanted)):
            formed[me] = wanted
    sets = set(formed.values())
    quorums = [s for s in sets if sum(1 for member in s if formed.get(member) == s) >= 2]
    assert len(quorums) <= 1, formed


def test_who_saw_all_others_without_a_cluster_is_a_founder_of_theirs() -> None:
    part = Bootstrap(own_id="a", expect=3)
    part.seen((server("a"), server("b"), server("c")))
    assert not part.founds
    early = View(frozenset(), "")
    part.agreed({"b": View(frozenset("abc"), ""), "c": early}, cluster_id=name(frozenset("abc")))
    assert part.founds
    back = Bootstrap(own_id="a", expect=3)  # it comes back with an empty disk
    back.seen((server("a"), server("b"), server("c")))
    formed = View(frozenset(), name(frozenset("abc")))
    back.agreed({"b": early, "c": formed}, cluster_id=name(frozenset("abc")))
    assert not back.founds
