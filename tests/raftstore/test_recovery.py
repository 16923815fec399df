"""Who goes on after a lost quorum, what is lost, and what a peers.json may say."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.raft.members import NON_VOTER, VOTER, Config, Member
from raftstore.recovery import (
    Loss,
    PeerEntry,
    RecoveryRefused,
    Survivor,
    common_index,
    new_cluster_id,
    parse_peers,
    peers_config,
    plan,
    seed_config,
)

FIVE = Config("c1", {n: Member(VOTER, f"{n}:8300") for n in "abcde"})
THREE = Config("c1", {n: Member(VOTER, f"{n}:8300") for n in "abc"})


def survivor(
    name: str, terms: list[int], *, commit: int = 0, first: int = 0, config: Config = FIVE
) -> Survivor:
    """One whose log from ``first`` on has these terms; the first one is the sentinel's."""
    runs = [(first + at, term) for at, term in enumerate(terms) if not at or terms[at - 1] != term]
    return Survivor(
        path=f"/{name}",
        node_id=name,
        term=terms[-1],
        vote=None,
        first_index=first,
        last_index=first + len(terms) - 1,
        last_term=terms[-1],
        commit_index=commit,
        config_index=1,
        config=config,
        runs=tuple(runs),
    )


def test_the_seed_has_the_last_term_then_the_longest_log() -> None:
    short_but_newer = survivor("a", [0, 1, 1, 3])
    longer = survivor("b", [0, 1, 1, 2, 2, 2])
    assert plan([longer, short_but_newer]).seed == "a"
    assert plan([survivor("a", [0, 1, 1]), survivor("b", [0, 1, 1, 1])]).seed == "b"


def test_what_the_others_have_beyond_the_seed_is_named() -> None:
    made = plan([survivor("a", [0, 1, 1, 3]), survivor("b", [0, 1, 1, 2, 2])])
    assert made.losses == (Loss(node_id="b", first=3, count=2),)
    assert made.missing == ("c", "d", "e")


def test_an_acknowledged_write_can_only_be_lost_if_the_missing_ones_are_a_quorum() -> None:
    four = Config("c1", {n: Member(VOTER, "h:1") for n in "abcd"})
    two_of_four = plan([survivor(n, [0, 1], config=four) for n in "ab"])
    assert not two_of_four.needless
    assert not two_of_four.acknowledged_at_risk
    assert plan([survivor(n, [0, 1]) for n in "ab"]).acknowledged_at_risk


def test_with_a_quorum_there_is_nothing_to_recover() -> None:
    assert plan([survivor(n, [0, 1], config=THREE) for n in "ab"]).needless
    assert not plan([survivor("a", [0, 1], config=THREE)]).needless


def test_naming_a_worse_seed_is_possible_and_said() -> None:
    logs = [survivor("a", [0, 1, 1, 1], commit=3), survivor("b", [0, 1])]
    made = plan(logs, seed="b")
    assert made.seed == "b"
    assert made.acknowledged_at_risk
    assert made.notes == (
        "a has the better log: naming another seed loses more",
        "the seed lacks entries that are known to be committed",
    )
    assert made.losses == (Loss(node_id="a", first=2, count=2),)


def test_the_newest_configuration_of_all_says_who_is_missing() -> None:
    before = survivor("a", [0, 1, 1])
    grown = survivor("b", [0, 1, 2], config=THREE)
    assert plan([before, grown]).voters == ("a", "b", "c")


@pytest.mark.parametrize(
    ("survivors", "seed", "reason"),
    [
        ([], "", "nothing to recover from"),
        ([survivor("a", [0, 1]), survivor("a", [0, 1])], "", "give each server once"),
        ([survivor("a", [0, 1])], "z", "no data directory of a server 'z'"),
        (
            [survivor("a", [0, 1]), survivor("b", [0, 1], config=Config("c2", FIVE.members))],
            "",
            "different clusters",
        ),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(
    survivors: list[Survivor], seed: str, reason: str
) -> None:
    with pytest.raises(RecoveryRefused, match=reason):
        plan(survivors, seed=seed)


def test_the_seed_goes_on_alone_under_a_new_cluster_id() -> None:
    config = seed_config(survivor("a", [0, 1]))
    assert config.members == {"a": Member(VOTER, "a:8300")}
    assert config.cluster_id == plan([survivor("a", [0, 1])]).new_cluster_id != "c1"


# -- where two logs part -------------------------------------------------------------------------


@st.composite
def two_logs(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Terms of two logs that share a beginning and then belong to different leaders."""
    shared = sorted(draw(st.lists(st.integers(1, 4), max_size=6)))
    least = shared[-1] if shared else 1
    mine = sorted(draw(st.lists(st.sampled_from([least + 1, least + 3]), max_size=4)))
    yours = sorted(draw(st.lists(st.sampled_from([least + 2, least + 4]), max_size=4)))
    return [0, *shared, *mine], [0, *shared, *yours]


@given(two_logs(), st.integers(0, 5), st.integers(0, 5))
def test_logs_are_shared_up_to_the_last_entry_of_the_same_term(
    logs: tuple[list[int], list[int]], trimmed_a: int, trimmed_b: int
) -> None:
    a_terms, b_terms = logs
    shared = sum(x == y for x, y in zip(a_terms, b_terms, strict=False)) - 1
    # A snapshot never reaches beyond what is shared: it holds committed entries only.
    first_a, first_b = min(trimmed_a, shared), min(trimmed_b, shared)
    a = survivor("a", a_terms[first_a:], first=first_a)
    b = survivor("b", b_terms[first_b:], first=first_b)
    assert common_index(a, b) == common_index(b, a) == shared


# -- peers.json ----------------------------------------------------------------------------------


def test_a_peers_file_names_ids_and_addresses() -> None:
    text = json.dumps(
        [
            {"id": "A", "address": "10.0.0.1:8300", "non_voter": False},
            {"id": "b", "address": "[fd00::1]:8300", "non_voter": True},
        ]
    )
    assert parse_peers(text) == (
        PeerEntry("a", "10.0.0.1:8300"),
        PeerEntry("b", "[fd00::1]:8300", True),
    )


def test_the_old_form_names_addresses_only_which_the_old_configuration_explains() -> None:
    entries = parse_peers('["a:8300", "10.9.9.9:8300"]')
    config = peers_config(entries, THREE, own_id="b", own_address="10.9.9.9:8300")
    assert config.members == {"a": Member(VOTER, "a:8300"), "b": Member(VOTER, "10.9.9.9:8300")}
    with pytest.raises(RecoveryRefused, match=re.escape("no server is known at 'x:1'")):
        peers_config(parse_peers('["x:1"]'), THREE, own_id="b", own_address="b:8300")


def test_all_servers_of_one_file_get_the_same_new_cluster_whatever_its_order() -> None:
    one = parse_peers('[{"id": "a", "address": "h:1"}, {"id": "b", "address": "h:2"}]')
    other = parse_peers('[{"id": "b", "address": "h:9"}, {"id": "a", "address": "h:1"}]')
    mine = peers_config(one, THREE, own_id="a", own_address="h:1")
    yours = peers_config(other, THREE, own_id="b", own_address="h:2")
    assert mine.cluster_id == yours.cluster_id != THREE.cluster_id
    demoted = parse_peers(
        '[{"id": "a", "address": "h:1"}, {"id": "b", "address": "h:2", "non_voter": true}]'
    )
    third = peers_config(demoted, THREE, own_id="a", own_address="h:1")
    assert third.cluster_id != mine.cluster_id
    assert third.members["b"].role == NON_VOTER


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is no JSON"),
        ("{}", "must be a list"),
        ("[]", "at least one server"),
        ("[1]", "server 1: an object or an address is expected"),
        ('[{"address": "h:1"}]', "id is missing"),
        ('[{"id": 1, "address": "h:1"}]', "are texts"),
        ('[{"id": "a", "address": "h:1", "non_voter": "no"}]', "non_voter is true or false"),
        ('[{"id": "a", "address": "h"}]', 'is not "host:port"'),
        ('[{"id": "a", "address": "h:0"}]', 'is not "host:port"'),
        ('[{"id": "a", "address": "h:99999999999"}]', 'is not "host:port"'),
        ('["h:1", "h:1"]', "'h:1' twice"),
        ('[{"id": "a", "address": "h:1"}, {"id": "A", "address": "h:2"}]', "'a' twice"),
        ('[{"id": "a", "address": "h:1", "non_voter": true}]', "no server that votes"),
        (json.dumps([f"h:{n}" for n in range(1, 66)]), "the most is 64"),
    ],
)
def test_a_peers_file_that_makes_no_sense_is_refused_with_a_sentence(
    text: str, reason: str
) -> None:
    with pytest.raises(RecoveryRefused, match=re.escape(reason)):
        parse_peers(text)


def test_a_peers_file_without_this_server_is_refused() -> None:
    entries = parse_peers('[{"id": "a", "address": "a:8300"}]')
    with pytest.raises(RecoveryRefused, match="does not name this server"):
        peers_config(entries, THREE, own_id="b", own_address="b:8300")


@given(st.text(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["id", "address", "non_voter", "x"]), inner, max_size=4),
).map(json.dumps))  # fmt: skip
def test_whatever_is_in_the_file_it_is_read_or_refused(text: str) -> None:
    try:
        entries = parse_peers(text)
    except RecoveryRefused:
        return
    assert entries


def test_the_new_id_follows_from_the_old_one_and_the_set() -> None:
    assert new_cluster_id("c1", ["a", "b"]) == new_cluster_id("c1", ["b", "a"])
    assert new_cluster_id("c1", ["a"]) != new_cluster_id("c2", ["a"])
