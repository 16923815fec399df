"""Counting votes: by who gave them, so that one answer never counts twice (hazard A4)."""

from __future__ import annotations

from collections.abc import Collection


def is_majority(granted: Collection[str], others: int) -> bool:
    """Are these more than half of ourselves and so many other voters?"""
    return len(granted) > (others + 1) / 2


def log_is_current(theirs: tuple[int, int], ours: tuple[int, int]) -> bool:
    """May they lead whose log ends so, (last term, last index)? (Raft, 5.4.1)"""
    return theirs >= ours


class PreVotes:
    """The pre-votes of one round (Raft thesis, 9.6); answers to earlier rounds do not count."""

    __slots__ = ("_open", "granted", "round")

    def __init__(self, first_round: int) -> None:
        """``first_round`` is thrown with dice: answers to an earlier life of ours are none."""
        self.round = first_round
        self.granted: set[str] = set()
        """Who has granted this round, ourselves included."""
        self._open = False

    def begin(self, node_id: str) -> None:
        """Ask again. We grant it ourselves."""
        self.round += 1
        self.granted = {node_id}
        self._open = True

    def grant(self, peer: str, number: int, others: int) -> bool:
        """A voter grants a round: is that, for the first time, a majority?"""
        if not self._open or number != self.round:
            return False
        self.granted.add(peer)
        if is_majority(self.granted, others):
            self._open = False
            return True
        return False
