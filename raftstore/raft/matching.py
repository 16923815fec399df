"""Where logs agree: a follower's with an append, and a majority's. Pure; changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from raftstore.errors import CorruptState
from raftstore.raft.log import Entry, Journal


class SafetyViolation(CorruptState):
    """A peer's log contradicts what was committed here. The process must stop at once."""


def first_new(journal: Journal, entries: Sequence[Entry]) -> int | None:
    """Position of the first entry that the journal lacks or holds with another term (A1)."""
    for position, (_, index, term) in enumerate(entries):
        if index > journal.last_index or journal.term_at(index) != term:
            return position
    return None


def start_of_term(journal: Journal, index: int, commit: int) -> int:
    """First index of the term that ``index`` belongs to, to skip a whole term at once.

    Raises SafetyViolation if that would go below what is committed.
    """
    term, least = journal.term_at(index), max(commit, journal.first_index) + 1
    if index < least:
        raise SafetyViolation(f"the leader's entry {index} differs from a committed one")
    while index > least and journal.term_at(index - 1) == term:
        index -= 1
    return index


def held_by_majority(held: Iterable[int], own: int) -> int:
    """The highest index that most voters hold: the other voters' match indexes, and our last."""
    others = sorted(held)
    return min(others[len(others) // 2], own) if others else own
