"""How many results in a row change a status."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.definitions import CheckDefinition
from agent.local.checks.thresholds import Thresholds

P, W, C = "passing", "warning", "critical"


def judged(results: list[str], **fields: int) -> list[str | None]:
    thresholds = Thresholds(CheckDefinition(**fields))
    return [thresholds.judge(result) for result in results]


@given(st.lists(st.sampled_from([P, W, C])))
def test_without_thresholds_every_result_counts(results) -> None:
    assert judged(results) == results
    assert judged(results, success_before_passing=1, failures_before_critical=1) == results


def test_the_first_result_counts_at_once() -> None:
    assert judged([C], failures_before_critical=1000) == [C]
    assert judged([P], success_before_passing=3) == [P]


def test_failures_must_come_in_a_row() -> None:
    results = judged([P, C, C, P, C, C, C], failures_before_critical=3)
    assert results == [P, None, None, P, None, None, C]


def test_successes_must_come_in_a_row_and_a_warning_is_one() -> None:
    results = judged([C, P, C, P, W, P], success_before_passing=3)
    assert results == [C, None, C, None, None, P]
    assert judged([C, P, W], success_before_passing=2) == [C, None, W]


def test_warning_comes_before_critical_where_it_is_asked_for() -> None:
    results = judged([P, C, C, C, C], failures_before_warning=2, failures_before_critical=4)
    assert results == [P, None, W, W, C]


@given(st.lists(st.sampled_from([P, C]), max_size=40), st.integers(1, 5), st.integers(1, 5))
def test_a_change_needs_its_number_of_equal_results(results, up, down) -> None:
    verdicts = judged(results, success_before_passing=up, failures_before_critical=down)
    for at, verdict in enumerate(verdicts):
        run = 0
        while run <= at and results[at - run] == results[at]:
            run += 1
        needed = up if results[at] == P else down
        first_run = run == at + 1  # counting starts from "already reached"
        assert (verdict == results[at]) == (run >= needed or first_run)
