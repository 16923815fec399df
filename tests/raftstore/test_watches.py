"""Who is woken, once, and that nothing stays behind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore.errors import QueueFull
from raftstore.watches import Watches
from tests.strategies import scaled


class Woken:
    def __init__(self) -> None:
        self.watches = Watches(watches_max=10)
        self.names: list[str] = []

    def watch(self, name: str, *footprints: tuple[str, str]):
        return self.watches.watch_once(footprints, lambda: self.names.append(name))


def test_a_watch_is_woken_by_its_own_footprint_and_only_once():
    woken = Woken()
    woken.watch("web", ("service", "web"))
    assert woken.watches.wake([("service", "api"), ("kv", "web")]) == 0
    assert woken.watches.wake([("service", "web")]) == 1
    assert woken.watches.wake([("service", "web")]) == 0
    assert woken.names == ["web"]
    assert len(woken.watches) == 0


def test_a_watch_on_two_things_is_woken_once_by_both():
    woken = Woken()
    woken.watch("both", ("services", ""), ("nodes", ""))
    assert woken.watches.wake([("services", ""), ("nodes", "")]) == 1
    assert woken.names == ["both"]


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b"])
def test_a_key_wakes_the_watchers_of_all_its_prefixes(prefix):
    woken = Woken()
    woken.watch(prefix, ("kv-prefix", prefix))
    woken.watch("other", ("kv-prefix", "b"), ("kv-prefix", "a/b/"))
    woken.watches.wake([("kv", "a/b")])
    assert woken.names == [prefix]


def test_a_cancelled_watch_is_not_woken_and_leaves_nothing_behind():
    woken = Woken()
    cancel = woken.watch("a", ("kv", "a"), ("kv-prefix", "a"))
    cancel()
    cancel()
    assert woken.watches.wake([("kv", "a")]) == 0
    assert (len(woken.watches), woken.watches._of, woken.watches._prefix_lengths) == (0, {}, {})


def test_a_woken_watch_may_be_cancelled_afterwards():
    woken = Woken()
    cancel = woken.watch("a", ("kv", "a"))
    woken.watch("b", ("kv", "a"))
    woken.watches.wake([("kv", "a")])
    cancel()
    assert len(woken.watches) == 0


def test_a_callback_may_watch_again_without_being_called_twice():
    watches, calls = Watches(watches_max=2), []

    def again() -> None:
        calls.append(1)
        watches.watch_once([("kv", "a")], again)

    watches.watch_once([("kv", "a")], again)
    assert watches.wake([("kv", "a")]) == 1
    assert (len(calls), len(watches)) == (1, 1)


def test_a_callback_may_cancel_one_that_is_to_be_woken_too():
    woken, cancels = Woken(), []
    woken.watches.watch_once([("kv", "a")], lambda: cancels[0]())
    cancels.append(woken.watch("victim", ("kv", "a")))
    assert woken.watches.wake([("kv", "a")]) == 1
    assert woken.names == []


def test_the_longest_waiting_is_woken_first():
    woken = Woken()
    for name in "abc":
        woken.watch(name, ("kv", "k"))
    woken.watches.wake([("kv", "k")])
    assert woken.names == ["a", "b", "c"]


def test_one_watch_more_than_the_limit_is_refused():
    woken = Woken()
    cancels = [woken.watch("x", ("kv", str(number))) for number in range(10)]
    with pytest.raises(QueueFull):
        woken.watch("x", ("kv", "a"))
    cancels[0]()
    woken.watch("x", ("kv", "a"))


def test_all_are_woken_when_the_state_was_replaced():
    woken = Woken()
    woken.watch("a", ("kv", "a"))
    woken.watch("b", ("service", "b"), ("nodes", ""))
    assert woken.watches.wake_all() == 2
    assert len(woken.watches) == 0


_footprints = st.tuples(st.sampled_from(["kv", "kv-prefix", "service"]), st.text("ab", max_size=3))


@settings(max_examples=scaled(100), deadline=None)
@given(
    watched=st.lists(st.lists(_footprints, min_size=1, max_size=3), max_size=10),
    touched=st.lists(st.tuples(st.sampled_from(["kv", "service"]), st.text("ab", max_size=3))),
)
def test_exactly_those_are_woken_whose_footprint_or_prefix_was_touched(watched, touched):
    woken = Woken()
    for number, footprints in enumerate(watched):
        woken.watch(str(number), *footprints)
    woken.watches.wake(touched)
    expected = {
        str(number)
        for number, footprints in enumerate(watched)
        for table, key in footprints
        if (table, key) in touched
        or (table == "kv-prefix" and any(t == "kv" and k.startswith(key) for t, k in touched))
    }
    assert set(woken.names) == expected
    assert len(woken.names) == len(expected)
    assert len(woken.watches) == len(watched) - len(expected)
