"""How long a step waits for more proposals."""

import pytest

from raftstore.raft.gathering import Gathering


@pytest.mark.parametrize(
    ("proposals", "waits"),
    [
        ([0], [False]),
        ([1, 1, 1, 1], [True, False, True, False]),
        ([2, 5, 9, 12, 15], [True, True, True, False, True]),
        ([3, 7, 0, 1], [True, True, False, True]),
    ],
    ids=["nothing waits", "one writer", "a crowd", "taken by another step"],
)
def test_a_step_waits_while_each_turn_brings_more_and_not_for_long(proposals, waits):
    gathering = Gathering(turns_max=3)
    assert [gathering.waits(count) for count in proposals] == waits
