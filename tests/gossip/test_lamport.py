"""Lamport clocks and the buffer of what was seen."""

from __future__ import annotations

from gossip.lamport import LTIME_MAX, LamportClock, SeenBuffer


def test_a_clock_is_always_past_what_it_has_seen() -> None:
    clock = LamportClock()
    assert clock.time == 1
    clock.witness(5)
    assert clock.time == 6
    clock.witness(3)
    assert clock.time == 6
    assert clock.increment() == 6
    assert clock.time == 7


def test_a_clock_cannot_be_pushed_to_its_end() -> None:
    clock = LamportClock()
    clock.witness(2**64 - 1)
    assert clock.time == 1
    clock.witness(LTIME_MAX)
    assert clock.time == LTIME_MAX + 1


def test_an_event_is_new_once() -> None:
    seen = SeenBuffer(512, 256, 1000)
    assert seen.add(5, ("deploy", b"v1"), 6)
    assert not seen.add(5, ("deploy", b"v1"), 6)
    assert seen.add(5, ("deploy", b"v2"), 6)


def test_the_old_and_those_below_the_floor_are_dropped() -> None:
    seen = SeenBuffer(512, 256, 1000)
    assert not seen.add(1, "x", 600)
    assert seen.add(88, "x", 600)
    seen.floor = 100
    assert not seen.add(99, "y", 600)


def test_one_time_remembers_a_bounded_number() -> None:
    seen = SeenBuffer(512, 2, 1000)
    assert [seen.add(5, key, 6) for key in "abc"] == [True, True, False]


def test_a_newer_time_takes_the_slot_of_an_older() -> None:
    seen = SeenBuffer(4, 8, 1000)
    seen.add(1, "a", 2)
    seen.add(5, "b", 5)
    assert list(seen) == [(5, ["b"])]


def test_when_bytes_run_out_the_oldest_are_forgotten_and_stay_old() -> None:
    seen = SeenBuffer(512, 256, 100)
    assert seen.add(5, "a", 6, 40)
    assert seen.add(6, "b", 7, 40)
    assert seen.add(7, "c", 8, 40)
    assert list(seen) == [(6, ["b"]), (7, ["c"])]
    assert not seen.add(5, "a", 8, 40), "a replay is not new because it was forgotten"
    assert not seen.add(7, "c", 8, 40)
    assert seen.add(8, "d", 9, 20)
    assert [ltime for ltime, _ in seen] == [6, 7, 8]


def test_a_slot_that_is_taken_over_gives_its_bytes_back() -> None:
    seen = SeenBuffer(4, 8, 100)
    for ltime in range(1, 100):
        assert seen.add(ltime, "x", ltime + 1, 25)
        assert [each for each, _ in seen] == list(range(max(1, ltime - 3), ltime + 1))
