"""Which connection carries a new stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.tunnel.lanes import Lane, Plan, plan, suffices
from proxy.tunnel.limits import TunnelLimits

LIMITS = TunnelLimits()


def test_the_first_stream_dials_and_the_next_share() -> None:
    assert plan([], 0, LIMITS) == Plan(None, True)
    assert plan([], 1, LIMITS) == Plan(None, False)
    assert plan([Lane(10)], 0, LIMITS) == Plan(0, False)


def test_more_streams_get_two_and_then_four() -> None:
    assert plan([Lane(62)], 0, LIMITS) == Plan(0, False)
    assert plan([Lane(63)], 0, LIMITS) == Plan(0, True)
    assert plan([Lane(300), Lane(210)], 0, LIMITS) == Plan(1, False)
    assert plan([Lane(300), Lane(211)], 0, LIMITS) == Plan(1, True)
    assert plan([Lane(300), Lane(211)], 2, LIMITS) == Plan(1, False)
    assert plan([Lane(200)] * 4, 0, LIMITS) == Plan(0, False)


def test_a_bulk_stream_keeps_its_connection_and_new_streams_go_elsewhere() -> None:
    assert plan([Lane(1, bulk=True)], 0, LIMITS) == Plan(0, True)
    assert plan([Lane(1, bulk=True), Lane(9)], 0, LIMITS) == Plan(1, False)


def test_a_connection_without_room_is_not_used() -> None:
    assert plan([Lane(9, room=False)], 0, LIMITS) == Plan(None, True)


@given(
    st.builds(Lane, st.integers(0, 100), st.booleans(), st.booleans()),
    st.integers(0, 4),
    st.integers(1, 80),
)
def test_one_that_suffices_is_what_the_plan_takes(lane: Lane, dialling: int, second: int) -> None:
    limits = TunnelLimits(second_lane_streams=second)
    if suffices(lane.streams, lane.room, lane.bulk, limits):
        assert plan([lane], dialling, limits) == Plan(0, False)


@given(
    st.lists(st.builds(Lane, st.integers(0, 1024), st.booleans(), st.booleans()), max_size=8),
    st.integers(0, 4),
)
def test_a_plan_is_possible_and_bounded(lanes: list[Lane], dialling: int) -> None:
    made = plan(lanes, dialling, LIMITS)
    if made.lane is not None:
        assert lanes[made.lane].room
    if made.dial:
        assert len(lanes) + dialling < LIMITS.connections_max
    if made.lane is None and not dialling and len(lanes) < LIMITS.connections_max:
        assert made.dial
