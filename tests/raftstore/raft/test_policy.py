"""When a snapshot is due, and what of the log must stay."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.raft.config import MIB, RaftConfig
from raftstore.raft.policy import LogGrowth, due, trim_index

CONFIG = RaftConfig(node_id="a")
QUIET = LogGrowth(
    log_bytes=MIB, log_entries=1000, snapshot_bytes=0, since_s=float("inf"), pressed=False
)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"log_bytes": 65 * MIB}, "the log has grown"),
        ({"log_bytes": 65 * MIB, "snapshot_bytes": 100 * MIB}, ""),
        ({"log_bytes": 101 * MIB, "snapshot_bytes": 100 * MIB}, "the log has grown"),
        ({"log_entries": 200_000}, "the log is long"),
        ({"log_entries": 199_999}, ""),
        ({"log_entries": 200_000, "since_s": 59.0}, ""),
        ({"pressed": True}, "the journal is short of room"),
        ({"pressed": True, "since_s": 59.0}, ""),
        ({"pressed": True, "log_entries": 0}, ""),
    ],
)
def test_a_snapshot_is_due_by_size_length_or_need_but_never_too_often(change, reason):
    assert due(CONFIG, replace(QUIET, **change)) == reason


def test_the_log_reaches_back_to_the_snapshot_before_the_newest():
    assert trim_index(CONFIG, index=500_000, previous=0, held=None, pressed=False) == 0
    assert trim_index(CONFIG, index=500_000, previous=300_000, held=None, pressed=False) == 300_000


def test_followers_that_lag_a_little_find_their_entries():
    assert trim_index(CONFIG, index=500_000, previous=499_000, held=None, pressed=False) == 490_000


def test_what_a_receiver_will_ask_for_next_stays():
    assert trim_index(CONFIG, index=500_000, previous=300_000, held=200_000, pressed=False) == (
        200_000
    )


def test_short_of_room_everything_that_can_go_goes():
    assert trim_index(CONFIG, index=500_000, previous=0, held=5, pressed=True) == 500_000


@given(
    index=st.integers(1, 2**40),
    previous=st.integers(0, 2**40),
    held=st.none() | st.integers(1, 2**40),
    pressed=st.booleans(),
)
def test_the_log_always_meets_the_snapshot(index, previous, held, pressed):
    assert (
        0 <= trim_index(CONFIG, index=index, previous=previous, held=held, pressed=pressed) <= index
    )
