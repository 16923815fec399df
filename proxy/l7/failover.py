"""Which group of hosts is asked: the first of the chain's order that has one (contract D.9). Pure.

The switch away is at once. Back to a better one it goes when that one has been usable for the
failback delay, so that a group that comes and goes does not carry all requests back and forth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


class Failover:
    """The groups of one resolver."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.current = 0
        self._since: list[float | None] = []

    def choose(self, usable: Sequence[bool], now: float) -> int | None:
        """The group to ask by whether each has a usable host; None when none has."""
        if len(self._since) != len(usable):
            # What is usable at the beginning is taken to have been so for ever.
            self._since = [-math.inf if each else None for each in usable]
            self.current = 0
        for at, each in enumerate(usable):
            if not each:
                self._since[at] = None
            elif self._since[at] is None:
                self._since[at] = now
        for at, since in enumerate(self._since):
            if since is None:
                continue
            current_left = self.current >= len(usable) or not usable[self.current]
            if at == self.current or current_left or now - since >= self.delay_s:
                self.current = at
                return at
        return None
