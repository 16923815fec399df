"""Every checker passes good histories and catches the bug planted in each bad one."""

from pathlib import Path

import pytest

from jepsen_lite.checkers import Validity, linearizable, lost_writes, monotonic
from jepsen_lite.checkers.compose import check_all, worst
from jepsen_lite.history import Op, read_history

DATA = Path(__file__).parents[2] / "data" / "jepsen_lite"
CHECKERS = {
    "lost": lost_writes.check,
    "monotonic": monotonic.check,
    "linearizable": linearizable.check,
}
VALID, INVALID, UNKNOWN = Validity.VALID, Validity.INVALID, Validity.UNKNOWN


def recorded(name: str) -> list[Op]:
    return read_history(DATA / f"{name}.jsonl")


@pytest.mark.parametrize(
    ("name", "lost", "monotonic_reads", "linear"),
    [
        ("good", VALID, VALID, VALID),
        ("lost_write", INVALID, VALID, INVALID),
        ("lost_first_write", INVALID, VALID, INVALID),
        ("phantom_write", INVALID, VALID, INVALID),
        ("invented_value", INVALID, VALID, INVALID),
        ("stale_consistent_read", VALID, INVALID, INVALID),
        ("double_cas", VALID, VALID, INVALID),
        ("unknown_write_shows_up_late", VALID, VALID, VALID),
        ("no_final_read", UNKNOWN, VALID, VALID),
    ],
)
def test_each_history_is_judged_rightly(
    name: str, lost: Validity, monotonic_reads: Validity, linear: Validity
) -> None:
    verdicts = check_all(CHECKERS, recorded(name))
    assert [verdict.validity for verdict in verdicts] == [lost, monotonic_reads, linear]
    assert all(verdict.problems for verdict in verdicts if verdict.validity is not VALID)


def test_a_problem_names_the_line_and_the_write() -> None:
    (problem,) = lost_writes.check(recorded("lost_write")).problems
    assert "line 2" in problem
    assert "write b" in problem


def test_an_empty_history_proves_nothing() -> None:
    assert worst(check_all(CHECKERS, [])) is UNKNOWN


def test_a_checker_that_crashes_knows_nothing() -> None:
    def crash(ops: object) -> None:
        raise ZeroDivisionError

    (verdict,) = check_all({"crash": crash}, [])  # type: ignore[dict-item]
    assert verdict.validity is UNKNOWN


def test_invalid_outranks_unknown_outranks_valid() -> None:
    good, bad = recorded("good"), recorded("lost_write")
    valid, unknown = lost_writes.check(good), lost_writes.check(recorded("no_final_read"))
    invalid = lost_writes.check(bad)
    assert worst([valid]) is VALID
    assert worst([valid, unknown]) is UNKNOWN
    assert worst([unknown, invalid, valid]) is INVALID


def test_a_search_beyond_its_bound_is_unknown() -> None:
    verdict = linearizable.check(recorded("good"), configurations_max=1)
    assert verdict.validity is UNKNOWN
