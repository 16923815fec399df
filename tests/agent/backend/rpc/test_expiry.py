"""Warnings before a certificate ends: at each point in time once, anew for a new certificate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.backend.rpc.expiry import DAY_S, WARN_DAYS, ExpiryWarnings, Held, soonest


def held(serial: int = 1, days: float = 100.0, kind: str = "certificate") -> Held:
    return Held(kind=kind, subject="CN=x", serial=serial, expires_at=days * DAY_S)


def said(warnings: ExpiryWarnings, day: float, *each: Held) -> list[int]:
    return [one.serial for one in warnings.due(each, day * DAY_S)]


def test_it_is_said_at_each_point_in_time_once() -> None:
    warnings, one = ExpiryWarnings(), held()
    days = [0, 69, 70, 71, 92, 93, 94, 98.9, 99, 99.5, 100, 101, 200]
    assert [day for day in days if said(warnings, day, one)] == [70, 93, 99, 100]


def test_after_a_start_only_the_nearest_point_counts() -> None:
    warnings = ExpiryWarnings()
    assert said(warnings, 99.5, held()) == [1]
    assert said(warnings, 99.6, held()) == []


def test_a_new_certificate_begins_anew_and_others_are_not_silenced() -> None:
    warnings = ExpiryWarnings()
    both = held(), held(2, 99.0, "authority")
    assert said(warnings, 95, *both) == [1, 2]
    assert said(warnings, 95, held(3), both[1]) == [3]
    assert soonest(both, "authority") == both[1] and soonest((), "authority") is None


@given(st.lists(st.floats(0, 200), max_size=40).map(sorted))
def test_never_more_often_than_there_are_points(days: list[float]) -> None:
    warnings = ExpiryWarnings()
    number = sum(bool(said(warnings, day, held())) for day in days)
    assert number <= len(WARN_DAYS)
    assert bool(number) == any(day >= 70 for day in days)
