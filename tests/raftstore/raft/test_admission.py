"""Who is let in: members and their like; who was removed only when a member vouches for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.raft.admission import REMOVED, Admission
from raftstore.raft.frames import NUMBER_MAX, PROTOCOL_VERSION, Hello, Returned


def door(members="abc", removed="x", index=10) -> Admission:
    made = Admission("b")
    made.set_members(members, removed, (), index)
    return made


def verdict(admission, node_id, *, known="", cluster="c1", config_index=0, **changes) -> str:
    fields = {
        "version": PROTOCOL_VERSION,
        "cluster_id": cluster,
        "node_id": node_id,
        "to_node_id": "b",
        "boot_nonce": 1,
        "config_index": config_index,
    }
    hello = Hello(**{**fields, **changes})
    return admission.refusal(hello, cluster_id="c1", dialled=None, addresses=set(known))


@pytest.mark.parametrize(
    ("node_id", "known", "cluster", "expected"),
    [
        ("a", "", "c1", ""),
        ("a", "", "", ""),
        ("a", "", "c2", "wrong cluster"),
        ("y", "", "c1", "stranger"),
        ("y", "y", "c1", ""),  # our configuration may be old
        ("y", "y", "", "stranger"),  # but it is of no cluster yet
        ("x", "x", "c1", REMOVED),
        ("b", "", "c1", "wrong node"),
    ],
)
def test_who_is_let_in(node_id, known, cluster, expected):
    assert verdict(door(), node_id, known=known, cluster=cluster) == expected


def test_anybody_is_heard_before_there_is_a_cluster():
    assert verdict(door(members=None, removed=""), "z") == ""


@given(st.integers(0, NUMBER_MAX))
def test_a_removed_server_is_refused_whatever_it_claims_to_have_seen(claimed):
    assert verdict(door(), "x", known="x", config_index=claimed) == REMOVED


@given(
    st.lists(
        st.tuples(st.sampled_from("abcxyz"), st.integers(0, 20), st.sets(st.sampled_from("xyz"))),
        max_size=6,
    )
)
def test_only_a_present_member_that_knows_more_vouches(vouches):
    admission, newest = door(), {}
    for peer, index, ids in vouches:
        admission.heard(peer, Returned(index, tuple(ids)))
        newest[peer] = (index, ids)
    vouched = any(p in "abc" and i > 10 and "x" in ids for p, (i, ids) in newest.items())
    assert (verdict(admission, "x") == "") is vouched
    for peer in "abc":
        admission.forget(peer)
    assert verdict(admission, "x") == REMOVED


def test_a_vouch_is_outlived_by_a_newer_configuration():
    admission = door()
    assert admission.heard("a", Returned(12, ("x",)))
    assert not admission.heard("a", Returned(12, ("x",)))
    assert verdict(admission, "x") == ""
    admission.set_members("abc", "x", (), 12)  # removed again
    assert verdict(admission, "x") == REMOVED
