"""What counts as a hold, and what is kept of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.loop.collector import Collector
from agent.loop.holds import KEPT_MAX, Hold, Holds, Span

seconds = st.floats(0, 10, allow_nan=False)


@given(seconds, seconds, seconds)
def test_only_what_was_ours_counts(wall_s: float, cpu_s: float, queued_s: float) -> None:
    own_s = Span(wall_s, cpu_s, queued_s).own_s
    assert 0 <= own_s <= wall_s
    assert own_s >= min(wall_s, cpu_s)
    assert own_s <= cpu_s + max(0.0, wall_s - cpu_s - queued_s)


def test_a_busy_machine_is_not_our_fault() -> None:
    holds = Holds(Collector(), exact=True)
    assert not holds.note(Span(wall_s=0.2, cpu_s=0.004, queued_s=0.196))
    assert holds.note(Span(wall_s=0.2, cpu_s=0.004, queued_s=0.1))
    assert holds.over == 1


def test_the_limit_itself_is_no_hold() -> None:
    holds = Holds(Collector(), exact=True, hold_max_s=0.5)
    assert not holds.note(Span(wall_s=0.5, cpu_s=0.5))
    assert holds.note(Span(wall_s=0.5001, cpu_s=0.5001))


def test_the_newest_holds_are_kept_and_explained_first() -> None:
    holds = Holds(Collector(), exact=True)
    for number in range(KEPT_MAX + 3):
        holds.note(Span(wall_s=0.02, cpu_s=0.015))
        holds.keep(Hold(float(number), Span(0.02, 0.015), f"work {number}", ("a.py:1 f",)))
    assert [hold.what for hold in holds.recent()] == [f"work {n}" for n in range(3, KEPT_MAX + 3)]
    found = holds.explained()
    assert found["Over"] == KEPT_MAX + 3
    shown = found["Holds"]
    assert isinstance(shown, list)
    assert shown[0] == {
        "At": "1970-01-01T00:01:06.000+00:00",
        "HeldMs": 20.0,
        "WallMs": 20.0,
        "CPUMs": 15.0,
        "BlockedMs": 5.0,
        "QueuedMs": 0.0,
        "CollectorMs": 0.0,
        "What": f"work {KEPT_MAX + 2}",
        "Stack": ["a.py:1 f"],
    }
