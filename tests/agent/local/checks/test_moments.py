"""What belongs to a moment, and what is pushed out."""

from __future__ import annotations

from agent.local.checks.moments import CHANGES_MAX, NAMED_MAX, TEXT_MAX, Moments
from raftstore.records import CheckId

C = CheckId("c")


def test_a_quiet_moment_has_nothing_to_tell() -> None:
    moments = Moments()
    moments.changed(100.0, C, "passing", "critical")
    moments.befell(50.0, "long ago")
    assert moments.around(100.0, 100.0, C) is None


def test_others_that_changed_are_counted_and_some_of_them_named() -> None:
    moments = Moments()
    moments.changed(90.0, CheckId("earlier"), "passing", "critical")
    for number in range(8):
        moments.changed(100.0 + number / 10, CheckId(str(number)), "passing", "critical")
    moments.changed(110.0, CheckId("later"), "passing", "critical")
    told = moments.around(100.0, 100.5, C)
    assert told["OtherChecksChanged"] == 8
    assert told["OtherChecks"][0] == "0: passing -> critical"
    assert len(told["OtherChecks"]) == NAMED_MAX


def test_what_lasted_into_the_moment_belongs_to_it() -> None:
    moments = Moments()
    moments.befell(120.0, "stood still", 30.0)
    assert moments.around(95.0, 96.0, C)["Host"] == ["stood still"]
    assert moments.around(80.0, 81.0, C) is None


def test_changes_of_checks_push_out_none_of_the_hosts_events() -> None:
    moments = Moments()
    moments.befell(100.0, "x" * 1000)
    for number in range(CHANGES_MAX + 10):
        moments.changed(100.0, CheckId(str(number)), "passing", "critical")
    told = moments.around(100.0, 100.0, C)
    assert told["OtherChecksChanged"] == CHANGES_MAX
    assert told["Host"] == ["x" * TEXT_MAX]
