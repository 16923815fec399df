"""Slow start: a host that has just come gets little at first, and its whole weight at the end of a
window (contract D.8). Pure; ``now`` is given.

Hosts that are there at the beginning are warm: nothing is known of when they started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from proxy.balance.hosts import Host

FIRST_SHARE = 0.1
#: Steps of a window in which weights are renewed.
STEPS = 20


class Warmup:
    """Since when each host is there."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._since: dict[tuple[str, str], float] = {}
        self._known: frozenset[tuple[str, str]] = frozenset()
        self._renew_at = 0.0

    def update(self, hosts: Sequence[Host], now: float) -> None:
        """These are the hosts now."""
        keys = frozenset(host.key for host in hosts)
        fresh = keys - self._known if self._known else frozenset()
        self._since = {key: at for key, at in self._since.items() if key in keys}
        self._since |= dict.fromkeys(fresh, now)
        self._known = keys

    def weighted(self, hosts: Sequence[Host], now: float) -> tuple[Host, ...]:
        """The hosts with the weight that they have now."""
        found = []
        for host in hosts:
            began = self._since.get(host.key)
            share = 1.0 if began is None else (now - began) / self._window_s
            share = max(FIRST_SHARE, min(1.0, share))
            found.append(host if share == 1.0 else replace(host, weight=host.weight * share))
        return tuple(found)

    def due(self, now: float) -> bool:
        """Whether weights are to be renewed; at most some times in a window."""
        if not self._since or now < self._renew_at:
            return False
        self._renew_at = now + self._window_s / STEPS
        old = [key for key, began in self._since.items() if now - began > 2 * self._window_s]
        for key in old:
            del self._since[key]
        return True
