"""Recorded runs of real clusters are found good, and each with one bug planted in it is not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jepsen_lite.checkers import (
    Checker,
    Validity,
    availability,
    catalog,
    complete_set,
    exactly_once,
    intentions,
    linearizable,
    monotonic,
    mutual_exclusion,
    serializable,
    staleness,
    watching,
)
from jepsen_lite.history import INFO, INVOKE, NEMESIS, OK, Op, pair, read_history
from jepsen_lite.workloads import WORKLOADS

DATA = Path(__file__).parents[2] / "data" / "jepsen_lite"
Bug = Callable[[list[Op]], list[Op]]


def recorded(workload: str) -> list[Op]:
    return read_history(DATA / f"real_{workload}.jsonl")


@pytest.mark.parametrize(
    "workload", ["modes", "append", "set", "counter", "lock", "watch", "catalog", "intention"]
)
def test_a_real_run_is_found_good_by_all_its_checkers(workload: str) -> None:
    ops = recorded(workload)
    for name, check in WORKLOADS[workload].checkers.items():
        found = check(ops)
        assert found.validity is Validity.VALID, (name, found.problems)
        assert found.checked > 0


def changed(ops: list[Op], index: int, **fields: object) -> list[Op]:
    return [replace(op, **fields) if op.index == index else op for op in ops]  # type: ignore[arg-type]


def completions(ops: list[Op], f: str, mode: str | None = None) -> list[Op]:
    """The lines in which operations of a kind came back well."""
    return [
        o.completion
        for o in pair(ops)
        if o.invocation.f == f
        and o.outcome == OK
        and o.completion is not None
        and (mode is None or o.invocation.mode == mode)
    ]


def an_element_is_lost(ops: list[Op]) -> list[Op]:
    last = completions(ops, "list", "final")[-1]
    assert isinstance(last.value, list)
    return changed(ops, last.index, value=last.value[1:])


def a_list_is_old(ops: list[Op]) -> list[Op]:
    listed = next(op for op in completions(ops, "list") if isinstance(op.value, list) and op.value)
    return changed(ops, listed.index, value=[])


def an_element_comes_from_nowhere(ops: list[Op]) -> list[Op]:
    last = completions(ops, "list", "final")[-1]
    assert isinstance(last.value, list)
    return changed(ops, last.index, value=[*last.value, "ghost"])


def a_number_is_made_twice(ops: list[Op]) -> list[Op]:
    one = completions(ops, "increment")[5]
    two = next(op for op in completions(ops, "increment")[6:] if op.key == one.key)
    return changed(ops, two.index, value=one.value)


def an_increment_is_lost(ops: list[Op]) -> list[Op]:
    last = completions(ops, "read", "final")[0]
    return changed(ops, last.index, value=str(int(str(last.value)) - 1))


def a_lost_update(ops: list[Op]) -> list[Op]:
    """The second of two appends to a list overwrites the first."""
    last = next(op for op in reversed(completions(ops, "txn")))
    assert isinstance(last.value, list)
    steps = [list(step) if isinstance(step, list) else step for step in last.value]
    for step in steps:
        if isinstance(step, list) and isinstance(step[2], list) and len(step[2]) > 2:
            step[2] = [step[2][0], *step[2][2:]]
            break
    return changed(ops, last.index, value=steps)


def two_hold_the_lock(ops: list[Op]) -> list[Op]:
    """The first holder never releases, by its own word."""
    first = completions(ops, "acquire")[0]
    release = next(
        o
        for o in pair(ops)
        if o.invocation.f == "release"
        and o.invocation.key == first.key
        and o.invocation.process == first.process
    )
    assert release.completion is not None
    gone = {release.start, release.completion.index}
    return [op for op in ops if op.index not in gone]


def a_token_goes_back(ops: list[Op]) -> list[Op]:
    first = completions(ops, "acquire")[0]
    later = [op for op in completions(ops, "acquire") if op.key == first.key][-1]
    return changed(ops, later.index, value={"token": 0, "ttl_s": 10.0})


def an_earlier_holder_changes_what_is_guarded(ops: list[Op]) -> list[Op]:
    guarded = max(completions(ops, "guarded"), key=lambda op: op.modify_index)
    invoked = next(o.start for o in pair(ops) if o.completion == guarded)
    return changed(ops, invoked, value=0)


def a_watch_goes_back(ops: list[Op]) -> list[Op]:
    seen = [op for op in completions(ops, "watch", "") if op.value]
    return changed(ops, seen[-1].index, value={})


def an_index_goes_back(ops: list[Op]) -> list[Op]:
    seen = completions(ops, "watch", "")
    return changed(ops, seen[-1].index, modify_index=1)


def the_last_value_is_never_seen(ops: list[Op]) -> list[Op]:
    last = completions(ops, "watch", "final")[0]
    assert isinstance(last.value, dict)
    key = sorted(last.value)[0]
    return changed(ops, last.index, value=last.value | {key: 0})


def a_stale_read_lies_about_its_age(ops: list[Op]) -> list[Op]:
    read = completions(ops, "read", "stale")[-1]
    invoked = next(o.start for o in pair(ops) if o.completion == read)
    late = changed(ops, invoked, at=read.at + 60.0)
    return changed(late, read.index, at=read.at + 60.0, value=None, age_s=0.01)


def a_default_read_is_old(ops: list[Op]) -> list[Op]:
    read = [op for op in completions(ops, "read", "default") if op.value is not None][-1]
    return changed(ops, read.index, value=None)


def a_read_goes_back(ops: list[Op]) -> list[Op]:
    read = completions(ops, "read", "consistent")[-1]
    return changed(ops, read.index, modify_index=1)


def http_misses_an_instance(ops: list[Op]) -> list[Op]:
    last = completions(ops, "http", "final")[-1]
    return changed(ops, last.index, value=["i0-0"] if last.value != ["i0-0"] else [])


def dns_never_catches_up(ops: list[Op]) -> list[Op]:
    last = completions(ops, "dns", "final")[-1]
    assert isinstance(last.value, list)
    return changed(ops, last.index, value=[*last.value[1:]] if last.value else ["i0-0"])


def a_denied_connection_stays_open(ops: list[Op]) -> list[Op]:
    """One that failed long after a denial passed instead."""
    made = [o for o in pair(ops) if o.invocation.f == "intend"]
    for look in reversed(pair(ops)):
        key, at = look.invocation.key, look.invocation.at
        before = [c for c in made if c.invocation.key == key and c.invocation.at < at]
        if look.invocation.f != "pass" or look.outcome == OK or not before:
            continue
        last = before[-1].completion
        assert last is not None
        if last.value is False and last.at < at - intentions.BOUND_S:
            assert look.completion is not None
            return changed(ops, look.completion.index, type=OK, value=True, error="")
    raise AssertionError("the recording has no denial that was left for long enough")


def nobody_allowed_it(ops: list[Op]) -> list[Op]:
    allowed = [o for o in pair(ops) if o.invocation.f == "intend" and o.invocation.value is True]
    gone = {o.start for o in allowed} | {o.completion.index for o in allowed if o.completion}
    return [op for op in ops if op.index not in gone]


def the_last_change_never_arrives(ops: list[Op]) -> list[Op]:
    last = completions(ops, "pass", "final")[-1]
    return changed(ops, last.index, value=not last.value)


def nothing_answers_afterwards(ops: list[Op]) -> list[Op]:
    healed = Op(index=len(ops), at=999.0, process=NEMESIS, type=INFO, f="heal", value="whole")
    return [*ops, healed]


@pytest.mark.parametrize(
    ("workload", "check", "bug"),
    [
        ("set", complete_set.check, an_element_is_lost),
        ("set", complete_set.check, a_list_is_old),
        ("set", complete_set.check, an_element_comes_from_nowhere),
        ("counter", exactly_once.check, a_number_is_made_twice),
        ("counter", exactly_once.check, an_increment_is_lost),
        ("append", serializable.check, a_lost_update),
        ("lock", mutual_exclusion.check, two_hold_the_lock),
        ("lock", mutual_exclusion.check, a_token_goes_back),
        ("lock", mutual_exclusion.check, an_earlier_holder_changes_what_is_guarded),
        ("watch", watching.check, a_watch_goes_back),
        ("watch", watching.check, an_index_goes_back),
        ("watch", watching.check, the_last_value_is_never_seen),
        ("modes", staleness.check, a_stale_read_lies_about_its_age),
        ("modes", linearizable.check, a_default_read_is_old),
        ("modes", monotonic.check, a_read_goes_back),
        ("catalog", catalog.check, http_misses_an_instance),
        ("catalog", catalog.check, dns_never_catches_up),
        ("intention", intentions.check, a_denied_connection_stays_open),
        ("intention", intentions.check, nobody_allowed_it),
        ("intention", intentions.check, the_last_change_never_arrives),
        ("set", availability.check, nothing_answers_afterwards),
    ],
    ids=lambda value: value.__name__ if callable(value) and value.__name__ != "check" else None,
)
def test_a_planted_bug_is_caught(workload: str, check: Checker, bug: Bug) -> None:
    assert check(recorded(workload)).validity is Validity.VALID
    found = check(bug(recorded(workload)))
    assert found.validity is Validity.INVALID
    assert found.problems


@pytest.mark.parametrize(
    ("workload", "check"),
    [
        ("set", complete_set.check),
        ("watch", watching.check),
    ],
    ids=["set", "watch"],
)
def test_without_a_last_look_nothing_is_promised(workload: str, check: Checker) -> None:
    ops = recorded(workload)
    final = {o.start for o in pair(ops) if o.invocation.mode == "final"}
    kept = {o.start for o in pair(ops)} - final
    ends = {o.completion.index for o in pair(ops) if o.start in kept and o.completion}
    cut = [op for op in ops if op.index in kept | ends or op.process == NEMESIS]
    assert check(cut).validity is Validity.UNKNOWN
    assert any(op.type == INVOKE for op in cut)
