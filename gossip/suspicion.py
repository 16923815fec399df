"""How long a suspect has, as a function of who else suspects it (Lifeguard's dynamic timeout).

Gossip wire contract, section 3.5. Pure arithmetic on numbers, the accusers of each suspect, and who
is due first; acting on the end of the time is gossip.swim's.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

from gossip.config import GossipConfig
from gossip.reasons import Accusation, SuspicionFigures


def bounds(config: GossipConfig, ring_size: int) -> tuple[int, float, float]:
    """(k, min, max): confirmations that count, and the timeout with all of them and with none.

    ``ring_size`` counts the suspect, ourselves and the dead that are not purged yet.
    """
    k = config.suspicion_mult - 2 if config.lha_suspicion else 0
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

    __slots__ = (
        "_accused_at",
        "_excused_s",
        "_excuses",
        "_k",
        "_longest_s",
        "_ring_size",
        "_shortest_s",
        "accusers",
        "deadline",
        "started_at",
    )

    def __init__(
        self,
        accuser: str,
        *,
        k: int,
        shortest_s: float,
        longest_s: float,
        now: float,
        ring_size: int = 0,
    ) -> None:
        self.accusers: list[str] = [accuser]  # the first one first; at most k + 1
        self._accused_at = [now]
        self._ring_size = ring_size
        self._excused_s = 0.0
        self._excuses = 0
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

    def confirm(self, accuser: str, *, now: float, not_before: float = -math.inf) -> bool:
        """Count a further accuser; False when it is known already or enough have spoken.

        However many agree, a wait that was longer does not end before ``not_before``.
        """
        if self.confirmations >= self._k or accuser in self.accusers:
            return False
        self.accusers.append(accuser)
        self._accused_at.append(now)
        end = self.started_at + self._total_s + self._excused_s
        self.deadline = min(self.deadline, max(end, not_before))
        return True

    def excuse(self, seconds: float, *, times_max: int, not_before: float) -> bool:
        """We did not run for so long, and that time does not count; False when it was excused
        ``times_max`` times already. After it the suspect has at least until ``not_before``."""
        if self._excuses >= times_max:
            return False
        self._excuses += 1
        self._excused_s += seconds
        self.deadline = max(self.deadline + seconds, not_before)
        return True

    @property
    def _total_s(self) -> float:
        return timeout(self.confirmations, self._k, self._shortest_s, self._longest_s)

    @property
    def figures(self) -> SuspicionFigures:
        """All of it, for `explain`."""
        said = zip(self.accusers, self._accused_at, strict=True)
        return SuspicionFigures(
            accusations=tuple(Accusation(accuser, at) for accuser, at in said),
            ring_size=self._ring_size,
            confirmations_wanted=self._k,
            shortest_s=self._shortest_s,
            longest_s=self._longest_s,
            timeout_s=self._total_s,
            excused_s=self._excused_s,
            started_at=self.started_at,
            deadline=self.deadline,
        )


def begin(config: GossipConfig, accuser: str, ring_size: int, now: float) -> Suspicion:
    """A suspicion that begins now, in a ring of so many."""
    k, shortest_s, longest_s = bounds(config, ring_size)
    return Suspicion(
        accuser, k=k, shortest_s=shortest_s, longest_s=longest_s, now=now, ring_size=ring_size
    )


class Suspicions:
    """The running suspicions by name; the earliest end is found without looking at the others."""

    __slots__ = ("_ends", "_running", "_serial")

    def __init__(self) -> None:
        self._running: dict[str, Suspicion] = {}
        # (end, serial, name), the earliest first. Entries of suspicions that were shortened or
        # are over stay until they come to the top.
        self._ends: list[tuple[float, int, str]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[str]:
        return iter(self._running)

    def get(self, name: str) -> Suspicion | None:
        return self._running.get(name)

    def start(self, name: str, suspicion: Suspicion) -> None:
        """A member is suspected from now on."""
        self._running[name] = suspicion
        self._queue(name, suspicion.deadline)

    def confirm(
        self, name: str, accuser: str, *, now: float, not_before: float = -math.inf
    ) -> bool:
        """A further accuser of a suspect; False when that changes nothing."""
        suspicion = self._running.get(name)
        if suspicion is None or not suspicion.confirm(accuser, now=now, not_before=not_before):
            return False
        self._queue(name, suspicion.deadline)
        return True

    def excuse(self, seconds: float, *, times_max: int, not_before: float) -> None:
        """We did not run for so long: all of them wait longer."""
        for name, suspicion in self._running.items():
            if suspicion.excuse(seconds, times_max=times_max, not_before=not_before):
                self._queue(name, suspicion.deadline)

    def forget(self, name: str) -> None:
        """It is over, one way or the other."""
        if self._running.pop(name, None) is not None and not self._running:
            self._ends.clear()

    def take_due(self, now: float) -> list[tuple[str, Suspicion]]:
        """Whose time has run out, the earliest first; they are no longer running."""
        due: list[tuple[str, Suspicion]] = []
        while self.deadline <= now:
            _, _, name = heapq.heappop(self._ends)
            due.append((name, self._running.pop(name)))
        return due

    @property
    def deadline(self) -> float:
        """When the next suspicion runs out."""
        while self._ends:
            end, _, name = self._ends[0]
            suspicion = self._running.get(name)
            if suspicion is not None and suspicion.deadline == end:
                return end
            heapq.heappop(self._ends)
        return math.inf

    def _queue(self, name: str, end: float) -> None:
        self._serial += 1
        heapq.heappush(self._ends, (end, self._serial, name))
