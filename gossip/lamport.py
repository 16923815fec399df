"""Lamport time: the clock that orders intents and events, and the buffer that remembers them.

Gossip wire contract, sections 5.1 and 5.4. Which message carries which clock is gossip.serf's.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

# A far value would leave no room to count on; nobody reaches it honestly.
LTIME_MAX = (1 << 62) - 1


class LamportClock:
    """A counter that never falls behind what it has seen."""

    __slots__ = ("time",)

    def __init__(self) -> None:
        self.time = 1

    def witness(self, ltime: int) -> None:
        """Somebody is at ``ltime``: be past it."""
        if self.time <= ltime <= LTIME_MAX:
            self.time = ltime + 1

    def increment(self) -> int:
        """The present time for a new event; the clock moves on."""
        present = self.time
        self.time += 1
        return present


class SeenBuffer:
    """Which events (or queries) of the last ``size`` Lamport times have been seen."""

    __slots__ = ("_per_slot_max", "_size", "_slots", "floor")

    def __init__(self, size: int, per_slot_max: int) -> None:
        self._size = size
        self._per_slot_max = per_slot_max
        self._slots: dict[int, tuple[int, list[Hashable]]] = {}
        self.floor = 0

    def add(self, ltime: int, key: Hashable, clock: int) -> bool:
        """True when it is new; False for the known, the too old and the too many."""
        if ltime < self.floor or ltime > LTIME_MAX:
            return False
        if clock > self._size and ltime < clock - self._size:
            return False
        index = ltime % self._size
        slot = self._slots.get(index)
        if slot is None or slot[0] != ltime:
            slot = self._slots[index] = (ltime, [])
        if key in slot[1] or len(slot[1]) >= self._per_slot_max:
            return False
        slot[1].append(key)
        return True

    def __iter__(self) -> Iterator[tuple[int, list[Hashable]]]:
        """The filled slots, oldest first."""
        return iter(sorted(self._slots.values()))
