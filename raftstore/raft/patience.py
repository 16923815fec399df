"""How long a server waits for a leader, for pre-votes and for votes. Seconds, as (least, most).

The shell throws the dice between the two. When the leader's process visibly died, those left hurry
for some rounds and take turns, so that two who noticed at once do not split the votes.
"""

from __future__ import annotations

from collections.abc import Iterable

from raftstore.raft.config import RaftConfig

HURRIED_ROUNDS_MAX = 10

Wait = tuple[float, float]


def turn(node_id: str, others: Iterable[str], lost: str | None = None) -> int:
    """How many of the other voters, less the lost leader, campaign before us."""
    return sum(1 for peer in others if peer < node_id and peer != lost)


class Patience:
    """Waits by the configuration, and how many hurried rounds are left."""

    __slots__ = ("_config", "_rounds_left")

    def __init__(self, config: RaftConfig) -> None:
        self._config = config
        self._rounds_left = 0

    @property
    def hurried(self) -> bool:
        """Has the leader died, and none been found since?"""
        return self._rounds_left > 0

    def calm(self) -> None:
        """A leader was heard."""
        self._rounds_left = 0

    def for_leader(self) -> Wait:
        """Before a leader counts as gone (Raft, 5.2)."""
        return self._config.election_min_s, self._config.election_max_s

    def after_loss(self, turn: int) -> Wait:
        """The leader's process has died: before the first pre-votes. The next rounds hurry too."""
        self._rounds_left = HURRIED_ROUNDS_MAX
        return self._in_turn(self._config.lost_leader_first_s, turn)

    def for_pre_votes(self, turn: int) -> Wait:
        """A round of pre-votes is asked for: before the next one."""
        if self._rounds_left:
            self._rounds_left -= 1
            return self._in_turn(self._config.lost_leader_s, turn)
        return 0.25 * self._config.election_min_s, 0.5 * self._config.election_min_s

    def for_votes(self, turn: int) -> Wait:
        """Votes are asked for: a split is settled soon, since the next try asks pre-votes first."""
        if self._rounds_left:  # twice as long as for pre-votes, since votes are written down
            least, most = self._config.lost_leader_s
            return self._in_turn((2 * least, 2 * most), turn)
        return 0.5 * self._config.election_min_s, self._config.election_min_s

    def _in_turn(self, wait: Wait, turn: int) -> Wait:
        turn_s = turn * self._config.lost_leader_turn_s
        return wait[0] + turn_s, wait[1] + turn_s
