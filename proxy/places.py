"""Whose turn it is of several places of one application: by weight, as smoothly as can be. Pure."""

from __future__ import annotations

import ipaddress
import random
from dataclasses import replace

from proxy.balance.hosts import Host
from proxy.balance.turns import WeightedRoundRobin
from proxy.source import AppAddress


class Places:
    """The turns of one application."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._of: AppAddress | None = None
        self._turns = WeightedRoundRobin()
        self._made: dict[tuple[str, str], AppAddress] = {}

    def next(self, app: AppAddress) -> AppAddress:
        """The same application with another of its places first; the others stand in for that."""
        if not app.others:
            return app
        if app != self._of:
            self._update(app)
        host = self._turns.pick(0.0, self._rng)
        return app if host is None else self._made[host.key]

    def _update(self, app: AppAddress) -> None:
        self._of = app
        places = ((app.address, app.port), *app.others)
        weights = app.weights if len(app.weights) == len(places) else (1,) * len(places)
        self._made = {
            (f"{at:05d}", f"{address}:{port}"): replace(
                app,
                address=address,
                port=port,
                others=(*places[at + 1 :], *places[:at]),
                weights=(),
                host=address if app.host and not is_ip(address) else app.host,
            )
            for at, (address, port) in enumerate(places)
        }
        hosts = [
            Host(key=key, address=made.address, port=made.port, weight=float(weight))
            for (key, made), weight in zip(self._made.items(), weights, strict=True)
        ]
        self._turns.update(hosts, 0.0)


def is_ip(text: str) -> bool:
    """Whether it is an address and no name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
