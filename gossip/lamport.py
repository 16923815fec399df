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
    """Which events (or queries) of the last ``size`` Lamport times have been seen.

    When they hold more than ``bytes_max`` the oldest are forgotten, and nothing of their times is
    new any more.
    """

    __slots__ = ("_bytes", "_bytes_max", "_per_slot_max", "_size", "_sizes", "_slots", "floor")

    def __init__(self, size: int, per_slot_max: int, bytes_max: int) -> None:
        self._size = size
        self._per_slot_max = per_slot_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._slots: dict[int, tuple[int, list[Hashable]]] = {}
        self._sizes: dict[int, int] = {}  # of each slot, in bytes
        self.floor = 0

    def add(self, ltime: int, key: Hashable, clock: int, size: int = 0) -> bool:
        """True when it is new; False for the known, the too old and the too many.

        ``size`` is how many bytes are kept with it.
        """
        if ltime < self.floor or ltime > LTIME_MAX:
            return False
        if self.too_old(ltime, clock):
            return False
        index = ltime % self._size
        slot = self._slots.get(index)
        if slot is None or slot[0] != ltime:
            self._bytes -= self._sizes.pop(index, 0)
            slot = self._slots[index] = (ltime, [])
        if key in slot[1] or len(slot[1]) >= self._per_slot_max:
            return False
        slot[1].append(key)
        self._bytes += size
        self._sizes[index] = self._sizes.get(index, 0) + size
        while self._bytes > self._bytes_max:
            self._forget_oldest()
        return True

    def too_old(self, ltime: int, clock: int) -> bool:
        """Whether it is so far behind the clock that nobody can tell if it was seen."""
        return clock > self._size and ltime < clock - self._size

    def _forget_oldest(self) -> None:
        ltime, _ = min(self._slots.values(), key=lambda slot: slot[0])
        index = ltime % self._size
        del self._slots[index]
        self._bytes -= self._sizes.pop(index)
        self.floor = max(self.floor, ltime + 1)

    def __iter__(self) -> Iterator[tuple[int, list[Hashable]]]:
        """The filled slots, oldest first."""
        return iter(sorted(self._slots.values()))
