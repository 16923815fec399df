"""A seed makes the same operations every time, whatever the speed of the run."""

import itertools

from jepsen_lite.generator import CAS, READ, WRITE, actions, faults


def first(seed: int, process: str, count: int = 200) -> list[object]:
    made = actions(seed, process, keys=5, shares={WRITE: 2, READ: 1, CAS: 1})
    return list(itertools.islice(made, count))


def test_the_same_seed_makes_the_same_actions() -> None:
    assert first(7, "p0") == first(7, "p0")
    assert first(7, "p0") != first(8, "p0")
    assert first(7, "p0") != first(7, "p1")


def test_written_values_are_unique_over_all_processes() -> None:
    made = [*first(7, "p0"), *first(7, "p1")]
    values = [action.value for action in made if action.f != READ]  # type: ignore[attr-defined]
    assert len(values) == len(set(values))
    assert all(a.value is None for a in made if a.f == READ)  # type: ignore[attr-defined]


def test_faults_repeat_and_stay_within_half_of_their_times() -> None:
    one = list(itertools.islice(faults(3, pause_s=2.0, hold_s=4.0), 50))
    assert one == list(itertools.islice(faults(3, pause_s=2.0, hold_s=4.0), 50))
    assert all(1.0 <= fault.pause_s <= 3.0 and 2.0 <= fault.hold_s <= 6.0 for fault in one)
