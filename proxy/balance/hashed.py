"""Hosts by the hash of a request: the same request finds the same host, and when a host goes or
comes, few others move.

``RingHash``: every host has points on a circle, a request goes to the next one (Karger et al.
1997). ``Maglev``: a table that hosts fill in turns by preference lists of their own (Eisenbud et
al. 2016); spread more evenly than a ring, a little less steady. A request without a hash goes
anywhere.

Building either takes some tenths of a second, so it is done in slices (``advance``). Meanwhile the
table before counts, past hosts that are gone; before the first one the host whose name hashes
highest together with the request (rendezvous).
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Collection, Generator, Iterator, Sequence

from proxy.balance.hosts import Counted, Host
from proxy.balance.xxh64 import xxh64

#: Points for a host of weight 1, and how many the whole ring has at least and at most.
POINTS, RING_MIN, RING_MAX = 160, 1024, 8192
#: Places of the table; a prime, so that every step width visits all.
TABLE = 65_537
_OFFSET_SEED, _STEP_SEED = 0, 1
#: Places or points that are made at a time.
SLICE = 256
#: Places that one slice of a table of Maglev looks at.
LOOKS = 4096


class _Hashed(Counted):
    """A request with a hash goes where the table says, past hosts that are not to be asked."""

    def __init__(self) -> None:
        super().__init__()
        self._wanted: tuple[Host, ...] = ()
        self._building: Iterator[None] | None = None
        self._built = False

    def update(self, hosts: Sequence[Host], now: float) -> None:
        super().update(hosts, now)
        usable = tuple(self.usable(()))
        if usable != self._wanted:
            self._wanted = usable
            self._building = self._build(usable)

    def advance(self) -> bool:
        if self._building is None:
            return False
        try:
            next(self._building)
        except StopIteration:
            self._building, self._built = None, bool(self._wanted)
            return False
        return True

    def pick(
        self,
        now: float,
        rng: random.Random,
        *,
        hash_value: int | None = None,
        excluded: Collection[Host] = (),
    ) -> Host | None:
        usable = self.usable(excluded)
        if not usable:
            return None
        if hash_value is None:
            return rng.choices(usable, [host.weight for host in usable])[0]
        found = self._find(hash_value, set(usable)) if self._built else None
        return found or max(usable, key=lambda host: xxh64(repr(host.key).encode(), hash_value))

    def _build(self, hosts: tuple[Host, ...]) -> Iterator[None]:
        """Make the table, a slice each time, and put it in force at the end."""
        raise NotImplementedError

    def _find(self, hash_value: int, usable: Collection[Host]) -> Host | None:
        """The first of these from the request's place on; None when the table has none of them."""
        raise NotImplementedError


class RingHash(_Hashed):
    """A circle of points; sizes of 0 are the defaults, none is above RING_MAX."""

    def __init__(self, size_min: int = 0, size_max: int = 0) -> None:
        super().__init__()
        self._size_max = min(size_max or RING_MAX, RING_MAX)
        self._size_min = min(size_min or RING_MIN, self._size_max)

    def _build(self, hosts: tuple[Host, ...]) -> Iterator[None]:
        wanted = sum(POINTS * host.weight for host in hosts)
        scale = min(max(wanted, self._size_min), self._size_max) / wanted if wanted else 1.0
        points: list[tuple[int, int]] = []
        for position, host in enumerate(hosts):
            for number in range(max(1, round(POINTS * host.weight * scale))):
                points.append((xxh64(f"{host.address}:{host.port}_{number}".encode()), position))
                if not len(points) % SLICE:
                    yield
        points.sort()
        self._points = [point for point, _ in points]
        self._owners = [hosts[position] for _, position in points]

    def _find(self, hash_value: int, usable: Collection[Host]) -> Host | None:
        at, owners = bisect_left(self._points, hash_value), self._owners
        around = (owners[(at + step) % len(owners)] for step in range(len(owners)))
        return next((owner for owner in around if owner in usable), None)


class Maglev(_Hashed):
    """A table of places."""

    def _build(self, hosts: tuple[Host, ...]) -> Iterator[None]:
        places = yield from maglev_slices(
            [f"{host.address}:{host.port}".encode() for host in hosts],
            [host.weight for host in hosts],
        )
        self._owners, self._places = hosts, places

    def _find(self, hash_value: int, usable: Collection[Host]) -> Host | None:
        owners, places = self._owners, self._places
        # No generator: compiled, it would look at all places first.
        for step in range(TABLE):
            owner = owners[places[(hash_value + step) % TABLE]]
            if owner in usable:
                return owner
        return None


def maglev_table(names: Sequence[bytes], weights: Sequence[float]) -> list[int]:
    """Which host has each place, made at once."""
    slices = maglev_slices(names, weights)
    while True:
        try:
            next(slices)
        except StopIteration as made:
            return list(made.value)


def maglev_slices(
    names: Sequence[bytes], weights: Sequence[float], size: int = TABLE
) -> Generator[None, None, list[int]]:
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
    looked = 0
    while True:
        for host, weight in enumerate(weights):
            turns[host] += weight / heaviest
            if turns[host] < 1.0:
                continue
            turns[host] -= 1.0
            place, step = at[host], steps[host]
            while places[place] >= 0:
                place = (place + step) % size
                looked += 1
                if not looked % LOOKS:  # the last free places are far apart
                    yield
            places[place] = host
            at[host] = (place + step) % size
            left -= 1
            if not left:
                return places
            if not left % SLICE:
                yield
