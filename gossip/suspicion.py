"""How long a suspect has, as a function of who else suspects it (Lifeguard's dynamic timeout).

Gossip wire contract, section 3.5. Pure arithmetic on numbers, and the list of accusers of one
suspect; acting on the end of the time is gossip.swim's.
"""

from __future__ import annotations

import math

from gossip.config import GossipConfig


def bounds(config: GossipConfig, ring_size: int) -> tuple[int, float, float]:
    """(k, min, max): confirmations that count, and the timeout with all of them and with none.

    ``ring_size`` counts the suspect, ourselves and the dead that are not purged yet.
    """
    k = config.suspicion_mult - 2
    if ring_size - 2 < k or k < 0:
        k = 0
    scale = math.floor(1000.0 * max(1.0, math.log10(max(1, ring_size)))) / 1000.0
    shortest = config.suspicion_mult * scale * config.probe_interval_s
    return k, shortest, config.suspicion_max_timeout_mult * shortest


def timeout(confirmations: int, k: int, shortest_s: float, longest_s: float) -> float:
    """Total time from the first accusation, cut to whole milliseconds as all members do."""
    if k < 1:
        return shortest_s
    fraction = math.log(confirmations + 1.0) / math.log(k + 1.0)
    total = longest_s - fraction * (longest_s - shortest_s)
    return max(shortest_s, math.floor(1000.0 * total) / 1000.0)


class Suspicion:
    """One running suspicion: who accuses, and until when the suspect may refute."""

    __slots__ = ("_k", "_longest_s", "_shortest_s", "accusers", "deadline", "started_at")

    def __init__(
        self, accuser: str, *, k: int, shortest_s: float, longest_s: float, now: float
    ) -> None:
        self.accusers: list[str] = [accuser]  # the first one first; at most k + 1
        self.started_at = now
        self._k = k
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self.deadline = now + timeout(0, k, shortest_s, longest_s)

    @property
    def confirmations(self) -> int:
        """Accusers beyond the first."""
        return len(self.accusers) - 1

    @property
    def confirmations_wanted(self) -> int:
        """How many bring the timeout down to its minimum."""
        return self._k

    def confirm(self, accuser: str) -> bool:
        """Count a further accuser; False when it is known already or enough have spoken."""
        if self.confirmations >= self._k or accuser in self.accusers:
            return False
        self.accusers.append(accuser)
        total = timeout(self.confirmations, self._k, self._shortest_s, self._longest_s)
        self.deadline = self.started_at + total
        return True
