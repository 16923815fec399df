"""How long a step waits for more proposals, counted in turns of the loop. Pure.

A batch costs every server a third to half a millisecond of processor time, however much is in it.
Under load each turn of the loop brings some more proposals, so a step that has nothing else to do
lets a few turns pass while that is so. A turn that brings nothing ends the wait: a single writer
waits for one turn, which is some tens of microseconds.
"""

from __future__ import annotations


class Gathering:
    """One server's wait before its next step."""

    __slots__ = ("_seen", "_turns", "_turns_max")

    def __init__(self, turns_max: int) -> None:
        self._turns_max = turns_max
        self._turns = 0
        self._seen = 0

    def waits(self, proposals: int) -> bool:
        """Whether to let the loop turn once more; ``proposals`` wait, and nothing else does."""
        if proposals > self._seen and self._turns < self._turns_max:
            self._seen, self._turns = proposals, self._turns + 1
            return True
        self._seen = self._turns = 0
        return False
