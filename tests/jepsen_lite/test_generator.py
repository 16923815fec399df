"""A seed makes the same dice and faults every time, whatever the speed of the run."""

import itertools

from jepsen_lite.generator import dice, faults


def test_every_process_has_dice_of_its_own() -> None:
    first = [dice(7, "p0").random() for _ in range(2)]
    assert first[0] == first[1]
    assert dice(8, "p0").random() != first[0] != dice(7, "p1").random()


def test_faults_repeat_and_stay_within_half_of_their_times() -> None:
    one = list(itertools.islice(faults(3, pause_s=2.0, hold_s=4.0), 50))
    assert one == list(itertools.islice(faults(3, pause_s=2.0, hold_s=4.0), 50))
    assert all(1.0 <= fault.pause_s <= 3.0 and 2.0 <= fault.hold_s <= 6.0 for fault in one)
