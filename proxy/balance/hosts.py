"""The hosts that a policy chooses among, and what is known of each.

A policy decides; it owns no clock and rolls no dice: ``now`` (seconds) and ``rng`` are given. All
hosts stand in the order of (node, id), so that every proxy sees the same order.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, order=True)
class Host:
    """One endpoint. ``key`` is its node and id; ``weight`` 0 means drained; ``region`` and
    ``zone`` say where it stands, "" where nobody does; ``warning``: a check of it warns."""

    key: tuple[str, str]
    address: str
    port: int
    weight: float = 1.0
    region: str = ""
    zone: str = ""
    warning: bool = False


class Policy(Protocol):
    """How the next host is chosen. Hosts of weight 0 and excluded ones are never chosen."""

    def update(self, hosts: Sequence[Host], now: float) -> None:
        """Replace the hosts; what is known of those that stay is kept."""
        ...

    def advance(self) -> bool:
        """Do one slice of the work that an update left, at most some milliseconds; whether more of
        it is left. Until then requests go by what was known before."""
        ...

    def pick(
        self,
        now: float,
        rng: random.Random,
        *,
        hash_value: int | None = None,
        excluded: Collection[Host] = (),
    ) -> Host | None:
        """The host for one request; None when there is none. ``hash_value`` is the request's, for
        policies that go by it."""
        ...

    def averages(self, now: float) -> Mapping[tuple[str, str], float]:
        """What latency each host is taken to have, in seconds; none where a policy keeps none."""
        ...

    def shares(self) -> Mapping[tuple[str, str], float]:
        """What share of all requests each host is to have now."""
        ...

    def started(self, host: Host, now: float) -> None:
        """A request was sent to it."""
        ...

    def finished(self, host: Host, now: float, latency_s: float, failed: bool) -> None:
        """That request ended after so long."""
        ...


class Counted:
    """What all policies share: the hosts and how many requests are under way at each."""

    def __init__(self) -> None:
        self.hosts: tuple[Host, ...] = ()
        self.active: dict[tuple[str, str], int] = {}

    def update(self, hosts: Sequence[Host], now: float) -> None:
        del now
        self.hosts = tuple(sorted(hosts, key=lambda host: host.key))
        self.active = {host.key: self.active.get(host.key, 0) for host in self.hosts}

    def advance(self) -> bool:
        return False

    def averages(self, now: float) -> Mapping[tuple[str, str], float]:
        del now
        return {}

    def shares(self) -> Mapping[tuple[str, str], float]:
        total = sum(host.weight for host in self.hosts)
        return {host.key: host.weight / total for host in self.hosts} if total > 0 else {}

    def usable(self, excluded: Collection[Host]) -> list[Host]:
        """Hosts with a weight that were not tried yet."""
        return [host for host in self.hosts if host.weight > 0 and host not in excluded]

    def started(self, host: Host, now: float) -> None:
        del now
        if host.key in self.active:
            self.active[host.key] += 1

    def finished(self, host: Host, now: float, latency_s: float, failed: bool) -> None:
        del now, latency_s, failed
        if self.active.get(host.key, 0) > 0:
            self.active[host.key] -= 1


def draw_two(hosts: Sequence[Host], rng: random.Random) -> Sequence[Host]:
    """Two different hosts, or all when there are fewer."""
    return hosts if len(hosts) <= 2 else rng.sample(hosts, 2)
