"""What may follow what in a line of configurations, and when a staging server votes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.errors import Refused
from raftstore.raft.changes import (
    Promotion,
    Unchanged,
    add,
    check_health,
    check_step,
    note_disks,
    remove,
    set_role,
    unfounded,
)
from raftstore.raft.members import (
    FORMER_MAX,
    MEMBERS_MAX,
    NON_VOTER,
    STAGING,
    VOTER,
    Config,
    Disk,
    Member,
    bootstrap_config,
    decode_config,
)

THREE = bootstrap_config({"a": "h:1", "b": "h:2", "c": "h:3"})


def test_a_new_server_never_votes_at_once():
    config = add("d", "h:4", voter=True)(THREE)
    assert config.members["d"] == Member(STAGING, "h:4")
    assert config.voters == THREE.voters
    assert add("d", "h:4", voter=False)(THREE).members["d"].role == NON_VOTER


def test_a_member_under_a_new_address_keeps_its_role():
    moved = add("a", "h:9", voter=False)(THREE)
    assert moved.members["a"] == Member(VOTER, "h:9")
    with pytest.raises(Unchanged):
        add("a", "h:9", voter=True)(moved)


def test_a_removed_server_is_remembered_until_it_is_back():
    without = remove("c")(THREE)
    assert without.removed == {"c"} and without.voters == {"a", "b"}
    back = add("c", "h:3", voter=True)(without)
    assert back.removed == frozenset() and back.former == ("c",)
    assert decode_config(back.encode()) == back


def test_memory_of_the_removed_is_bounded():
    config = THREE
    for number in range(FORMER_MAX + 10):
        config = remove(f"x{number}")(add(f"x{number}", "", voter=False)(config))
    assert len(config.former) == FORMER_MAX and "x9" not in config.former
    assert decode_config(config.encode()) == config


def test_what_makes_no_sense_is_refused_for_certain():
    full = Config("id", {f"n{i}": Member(VOTER, "") for i in range(MEMBERS_MAX)})
    for change, config in (
        (remove("x"), THREE),
        (set_role("x", STAGING), THREE),
        (add("", "h:1", voter=True), THREE),
        (add("x", "h" * 300, voter=True), THREE),
        (add("x", "h:1", voter=True), full),
    ):
        with pytest.raises(Refused):
            change(config)


def test_asking_for_what_is_so_already_changes_nothing():
    for role in (VOTER, STAGING):
        with pytest.raises(Unchanged):
            set_role("a", role)(THREE)


def test_only_one_voter_changes_at_a_time_and_one_always_stays():
    two_fewer = Config(THREE.cluster_id, {"a": Member(VOTER, "")})
    none = Config(THREE.cluster_id, {"a": Member(NON_VOTER, "")})
    check_step(THREE, remove("a")(THREE))
    with pytest.raises(Refused, match="one voter"):
        check_step(THREE, two_fewer)
    with pytest.raises(Refused, match="last voter"):
        check_step(two_fewer, none)
    with pytest.raises(Refused, match="one cluster"):
        check_step(THREE, Config("other", THREE.members))


def test_a_change_that_would_cost_the_quorum_is_refused():
    check_health(remove("c")(THREE), {"a", "b"})
    with pytest.raises(Refused, match="quorum"):
        check_health(remove("b")(THREE), {"a", "b"})  # c is dead: a alone is half of a and c


ids = st.sampled_from([f"n{i}" for i in range(6)])
changes = st.one_of(
    st.builds(lambda n, v: add(n, "", voter=v), ids, st.booleans()),
    st.builds(remove, ids),
    st.builds(set_role, ids, st.sampled_from([VOTER, NON_VOTER, STAGING])),
)


@given(st.lists(changes, max_size=30))
def test_any_majority_shares_a_server_with_any_majority_of_the_next_set(line):
    config = THREE
    for change in line:
        try:
            after = change(config)
            check_step(config, after)
        except (Refused, Unchanged):
            continue
        assert len(config.voters ^ after.voters) <= 1
        quorums = len(config.voters) // 2 + 1 + len(after.voters) // 2 + 1
        assert quorums > len(config.voters | after.voters)
        assert decode_config(after.encode()) == after
        assert not after.removed & set(after.members)
        config = after


def test_promotion_wants_three_looks_in_a_row_and_a_stable_time():
    promotion = Promotion(lag_max=200, stable_s=1.0)
    assert promotion.look(0.0, {"d": 201}) is None
    assert promotion.look(0.5, {"d": 200}) is None
    assert promotion.look(1.0, {"d": 0}) is None
    assert promotion.look(1.4, {"d": 0}) is None  # three looks, but not for a second
    assert promotion.look(1.5, {"d": 0}) == "d"
    assert promotion.look(1.6, {"d": None}) is None  # not heard: it starts anew
    for at in (1.7, 2.6):
        assert promotion.look(at, {"d": 0}) is None
    assert promotion.look(2.7, {"d": 0}) == "d"
    promotion.reset()
    assert promotion.look(9.0, {"d": 0}) is None


def test_promotion_needs_three_looks_however_long_they_take():
    promotion = Promotion(lag_max=1, stable_s=0.0)
    assert promotion.look(0.0, {"d": 0, "e": 2}) is None
    assert promotion.look(100.0, {"d": 0, "e": 0}) is None
    assert promotion.look(200.0, {"d": 0, "e": 0}) == "d"
    assert promotion.look(300.0, {"e": 0}) == "e"


# -- disks

FOUNDED = {n: Disk(f"disk-{n}", founding=True) for n in "abc"}


def test_the_disks_of_all_are_noted_in_one_configuration():
    noted = note_disks(FOUNDED)(THREE)
    assert {n: m.disk for n, m in noted.members.items()} == {n: f"disk-{n}" for n in "abc"}
    assert noted.voters == THREE.voters
    with pytest.raises(Unchanged):
        note_disks(FOUNDED)(noted)


def test_who_tells_none_or_is_not_linked_is_left_as_it_is():
    noted = note_disks({"a": Disk("disk-a"), "b": Disk("")})(THREE)
    assert [noted.members[n].disk for n in "abc"] == ["disk-a", "", ""]


def test_a_voter_on_another_disk_is_taken_in_anew_one_at_a_time():
    noted = note_disks(FOUNDED)(THREE)
    lost = {**FOUNDED, "b": Disk("new-b"), "c": Disk("new-c")}
    after = note_disks(lost)(noted)
    assert after.members["b"] == Member(STAGING, "h:2", "new-b")
    assert after.members["c"] == noted.members["c"]
    check_step(noted, after)
    again = set_role("b", VOTER)(after)
    assert again.members["b"] == Member(VOTER, "h:2", "new-b")


def test_a_disk_that_is_younger_than_the_cluster_cannot_pass_for_one_that_was_never_noted():
    after = note_disks({**FOUNDED, "b": Disk("new-b", founding=False)})(THREE)
    assert after.members["b"] == Member(STAGING, "h:2", "new-b")


def test_who_may_only_not_have_founded_yet_is_left_as_it_is_for_a_while():
    disks = {**FOUNDED, "b": Disk("disk-b", founding=False)}
    assert unfounded(THREE, disks) == {"b"}
    waiting = note_disks(disks, {"b"})(THREE)
    assert [waiting.members[n] for n in "abc"] == [
        Member(VOTER, "h:1", "disk-a"), Member(VOTER, "h:2"), Member(VOTER, "h:3", "disk-c")
    ]  # fmt: skip
    assert unfounded(waiting, FOUNDED) == set()
    assert note_disks(FOUNDED)(waiting).members["b"] == Member(VOTER, "h:2", "disk-b")
    noted = note_disks(FOUNDED)(THREE)
    assert unfounded(noted, {**FOUNDED, "b": Disk("new-b", founding=False)}) == set()


def test_a_cluster_of_one_notes_nothing():
    with pytest.raises(Unchanged):
        note_disks(FOUNDED)(bootstrap_config({"a": "h:1"}))


def test_a_member_under_a_new_address_keeps_its_disk():
    noted = note_disks(FOUNDED)(THREE)
    assert add("a", "h:9", voter=True)(noted).members["a"] == Member(VOTER, "h:9", "disk-a")
