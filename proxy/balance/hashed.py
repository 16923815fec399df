"""Hosts by the hash of a request: the same request finds the same host, and when a host goes or
comes, few others move.

``RingHash``: every host has points on a circle, a request goes to the next one (Karger et al.
1997). ``Maglev``: a table that hosts fill in turns by preference lists of their own (Eisenbud et
al. 2016); spread more evenly than a ring, a little less steady. A request without a hash goes
anywhere.

Building either takes some tenths of a second: ``update`` belongs on a thread, not on the loop.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Collection, Sequence

from proxy.balance.hosts import Counted, Host
from proxy.balance.xxh64 import xxh64

#: Points for a host of weight 1, and how many the whole ring has at least and at most.
POINTS, RING_MIN, RING_MAX = 160, 1024, 8_388_608
#: Places of the table; a prime, so that every step width visits all.
TABLE = 65_537
_OFFSET_SEED, _STEP_SEED = 0, 1


class _Hashed(Counted):
    """A request with a hash goes where the table says; past hosts that were tried already."""

    def __init__(self) -> None:
        super().__init__()
        self._built_for: tuple[Host, ...] = ()

    def update(self, hosts: Sequence[Host], now: float) -> None:
        super().update(hosts, now)
        usable = tuple(self.usable(()))
        if usable != self._built_for:
            self._built_for = usable
            self._build(usable)

    def pick(
        self,
        now: float,
        rng: random.Random,
        *,
        hash_value: int | None = None,
        excluded: Collection[Host] = (),
    ) -> Host | None:
        if hash_value is None or excluded:
            usable = self.usable(excluded)
            if not usable:
                return None
            if hash_value is None:
                return rng.choices(usable, [host.weight for host in usable])[0]
            return self._after(hash_value, set(usable))
        return self._find(hash_value) if self._built_for else None

    def _build(self, hosts: tuple[Host, ...]) -> None:
        raise NotImplementedError

    def _find(self, hash_value: int) -> Host:
        raise NotImplementedError

    def _after(self, hash_value: int, usable: Collection[Host]) -> Host:
        raise NotImplementedError


class RingHash(_Hashed):
    """A circle of points."""

    def _build(self, hosts: tuple[Host, ...]) -> None:
        wanted = sum(POINTS * host.weight for host in hosts)
        scale = min(max(wanted, RING_MIN), RING_MAX) / wanted if wanted else 1.0
        points = sorted(
            (xxh64(f"{host.address}:{host.port}_{number}".encode()), position)
            for position, host in enumerate(hosts)
            for number in range(max(1, round(POINTS * host.weight * scale)))
        )
        self._points = [point for point, _ in points]
        self._owners = [hosts[position] for _, position in points]

    def _find(self, hash_value: int) -> Host:
        return self._owners[bisect_left(self._points, hash_value) % len(self._owners)]

    def _after(self, hash_value: int, usable: Collection[Host]) -> Host:
        at = bisect_left(self._points, hash_value)
        size = len(self._owners)
        return next(
            owner for step in range(size) if (owner := self._owners[(at + step) % size]) in usable
        )


class Maglev(_Hashed):
    """A table of places."""

    def _build(self, hosts: tuple[Host, ...]) -> None:
        self._hosts = hosts
        self._places = maglev_table(
            [f"{host.address}:{host.port}".encode() for host in hosts],
            [host.weight for host in hosts],
        )

    def _find(self, hash_value: int) -> Host:
        return self._hosts[self._places[hash_value % TABLE]]

    def _after(self, hash_value: int, usable: Collection[Host]) -> Host:
        return next(
            host
            for step in range(TABLE)
            if (host := self._hosts[self._places[(hash_value + step) % TABLE]]) in usable
        )


def maglev_table(names: Sequence[bytes], weights: Sequence[float], size: int = TABLE) -> list[int]:
    """Which host has each place. Hosts take turns; one of half the weight of the heaviest takes
    every second turn only."""
    if not names:
        return []
    offsets = [xxh64(name, _OFFSET_SEED) % size for name in names]
    steps = [xxh64(name, _STEP_SEED) % (size - 1) + 1 for name in names]
    heaviest, left = max(weights), size
    places = [-1] * size
    at = offsets[:]
    turns = [0.0] * len(names)
    while True:
        for host, weight in enumerate(weights):
            turns[host] += weight / heaviest
            if turns[host] < 1.0:
                continue
            turns[host] -= 1.0
            place, step = at[host], steps[host]
            while places[place] >= 0:
                place = (place + step) % size
            places[place] = host
            at[host] = (place + step) % size
            left -= 1
            if not left:
                return places
