"""Percentiles of the last writes."""

from hypothesis import given
from hypothesis import strategies as st

from raftstore.raft.latencies import Latencies, LatencySummary


def test_without_a_write_all_is_zero():
    assert Latencies().summary(9.0) == LatencySummary()


def test_percentiles_are_of_the_window_and_by_nearest_rank():
    latencies = Latencies(writes=100)
    for number in range(1, 301):
        latencies.add(float(number), number / 1000)
    found = latencies.summary(310.0)
    assert (found.writes, found.window_s) == (100, 310.0 - 201.0)
    assert (found.p50_s, found.p99_s, found.max_s) == (0.25, 0.299, 0.3)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_they_are_in_order_and_among_what_was_measured(took):
    latencies = Latencies()
    for now, one in enumerate(took):
        latencies.add(float(now), one)
    found = latencies.summary(float(len(took)))
    assert min(took) <= found.p50_s <= found.p99_s <= found.max_s == max(took)
    assert {found.p50_s, found.p99_s} <= set(took)
    assert sum(one <= found.p50_s for one in took) * 2 >= len(took)
