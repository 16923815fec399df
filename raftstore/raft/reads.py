"""Read index: a linearizable read without a log entry (Raft thesis, 6.4).

Reads that arrive in one step share a round. A round is confirmed once a majority of voters, the
leader included, has answered a probe of this round or a later one within the leader's term; its
reads may be served once everything up to the commit index noted at the start has been applied.
Whether the caller leads and may start a round is for the caller to decide.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class ReadIndex:
    """Rounds of one leadership. Tickets are opaque to this module."""

    __slots__ = ("_answers", "_confirmed", "_joining", "_rounds", "round")

    def __init__(self) -> None:
        self._joining: list[object] = []
        self._rounds: deque[tuple[int, int, list[object]]] = deque()
        self._answers: dict[str, int] = {}
        self._confirmed = 0
        self.round = 0

    def join(self, ticket: object) -> None:
        """Ask for the next round."""
        self._joining.append(ticket)

    def take_joining(self) -> list[object]:
        """Take out the reads that wait for a round: they need none."""
        taken, self._joining = self._joining, []
        return taken

    @property
    def joining(self) -> int:
        """Reads that wait for a round to start."""
        return len(self._joining)

    @property
    def unconfirmed(self) -> bool:
        """Is a probe on its way?"""
        return bool(self._rounds) and self._rounds[-1][0] > self._confirmed

    @property
    def waiting(self) -> int:
        """All reads not answered yet."""
        return len(self._joining) + sum(len(tickets) for _, _, tickets in self._rounds)

    def begin(self, commit_index: int) -> int | None:
        """Start a round for those who joined; the number to probe with, or None if nobody did."""
        if not self._joining:
            return None
        self.round += 1
        self._rounds.append((self.round, commit_index, self._joining))
        self._joining = []
        return self.round

    def answered(self, peer: str, number: int) -> None:
        """A voter confirmed our leadership in round ``number`` (of the current term)."""
        if number <= self.round and number > self._answers.get(peer, 0):
            self._answers[peer] = number

    def served(self, peers: Iterable[str], applied_index: int) -> list[tuple[object, int]]:
        """Take out the reads that may be served now: (ticket, index). ``peers``: other voters."""
        if not self._rounds:
            return []
        numbers = sorted((self._answers.get(peer, 0) for peer in peers), reverse=True)
        needed = (len(numbers) + 1) // 2  # answers beside our own
        self._confirmed = self.round if needed == 0 else numbers[needed - 1]
        out: list[tuple[object, int]] = []
        while self._rounds:
            number, index, tickets = self._rounds[0]
            if number > self._confirmed or index > applied_index:
                break
            self._rounds.popleft()
            out.extend((ticket, index) for ticket in tickets)
        return out

    def reset(self) -> list[object]:
        """Role or term changed: forget the rounds and answers, and return all tickets to fail."""
        failed = [ticket for _, _, tickets in self._rounds for ticket in tickets]
        failed += self._joining
        self._rounds.clear()
        self._joining = []
        self._answers.clear()
        self._confirmed = 0
        # Numbers go on: an answer to a round of an earlier leadership must never fit a new one.
        return failed
