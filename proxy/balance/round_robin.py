"""Round robin: every endpoint in its turn."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from proxy.source import Endpoint


class RoundRobin:
    """Gives endpoints in turn; ``start`` (a random number) spreads proxies that start together."""

    __slots__ = ("_endpoints", "_next")

    def __init__(self, endpoints: Sequence[Endpoint] = (), *, start: int = 0) -> None:
        assert start >= 0
        self._endpoints = tuple(endpoints)
        self._next = start

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace the endpoints; the turn goes on where it was."""
        self._endpoints = tuple(endpoints)

    def candidates(self, count: int) -> tuple[Endpoint, ...]:
        """Up to ``count`` different endpoints for one connection, beginning at the turn."""
        size = len(self._endpoints)
        if not size:
            return ()
        first = self._next % size
        self._next = first + 1
        return tuple(self._endpoints[(first + step) % size] for step in range(min(count, size)))


def follow(
    held: dict[str, RoundRobin],
    keys: Iterable[str],
    now: Mapping[str, Sequence[Endpoint]],
    before: Mapping[str, Sequence[Endpoint]],
    rng: random.Random,
) -> None:
    """Bring the balancers of these upstreams in step with their endpoints."""
    for key in keys:
        endpoints, balancer = now.get(key, ()), held.get(key)
        if balancer is None:
            held[key] = RoundRobin(endpoints, start=rng.randrange(1 << 16))
        elif endpoints != before.get(key, ()):
            balancer.update(endpoints)
