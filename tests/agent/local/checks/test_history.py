"""The story of a check keeps its changes and stays short."""

from __future__ import annotations

from agent.local.checks.history import RESULTS_MAX, CheckHistory, Transition
from raftstore.records import CheckId

C = CheckId("c")


def result(at: float, before: str, after: str) -> Transition:
    return Transition(at=at, before=before, after=after, output="o" * 1000, cause="probe")


def test_results_that_change_nothing_do_not_push_out_changes() -> None:
    history = CheckHistory()
    history.note(C, result(0, "critical", "passing"))
    for at in range(1, 100):
        history.note(C, result(at, "passing", "passing"))
    story = history.explain(C)
    assert [entry["At"][14:23] for entry in story] == ["00:00.000", "01:39.000"]
    assert len(story[0]["Output"]) < 1000


def test_the_story_is_bounded_and_forgotten_with_its_check() -> None:
    history = CheckHistory()
    for at in range(100):
        history.note(C, result(at, "passing", "critical"))
    assert len(history.explain(C)) == RESULTS_MAX
    history.forget(C)
    assert history.explain(C) == []
