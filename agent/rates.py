"""Buckets that fill at a rate: how often something may happen. Pure.

``Buckets`` keeps one for each of many names, and forgets the longest quiet beyond a bound, so that
whoever invents names cannot fill the memory.
"""

from __future__ import annotations

from collections import OrderedDict


class Bucket:
    """Fills with ``rate`` a second up to ``most``; full at first. Times are seconds."""

    __slots__ = ("_at", "_left", "_most", "_rate")

    def __init__(self, rate: float, most: float, now: float) -> None:
        self._rate, self._most = rate, most
        self._left, self._at = most, now

    def level(self, now: float) -> float:
        """What is in it; brings it up to date."""
        self._left = min(self._most, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        return self._left

    def take(self) -> None:
        """Take one out, whether it is there or not."""
        self._left -= 1.0

    def wait_s(self, now: float) -> float:
        """Seconds until one may be taken, 0 if at once; infinite for a rate of nothing."""
        missing = 1.0 - self.level(now)
        if missing <= 0.0:
            return 0.0
        return missing / self._rate if self._rate > 0.0 else float("inf")


class Buckets:
    """A bucket for each name."""

    __slots__ = ("_by_name", "_most", "_names_max", "_rate")

    def __init__(self, rate: float, most: float, names_max: int) -> None:
        self._rate, self._most, self._names_max = rate, most, names_max
        self._by_name: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_name)

    def of(self, name: str, now: float) -> Bucket:
        """The bucket of a name."""
        found = self._by_name.get(name)
        if found is None:
            found = self._by_name[name] = Bucket(self._rate, self._most, now)
            if len(self._by_name) > self._names_max:
                self._by_name.popitem(last=False)
        else:
            self._by_name.move_to_end(name)
        return found
