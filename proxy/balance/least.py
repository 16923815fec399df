"""The host with the least to do, for its weight: among a few that are drawn, or among all.

Two choices come close to the best of all for equal hosts (Mitzenmacher 2001), without every proxy
running to the same one. With 64 hosts or fewer, connections look at all of them.
"""

from __future__ import annotations

import random
from collections.abc import Collection

from proxy.balance.hosts import Counted, Host

SCAN_MAX = 64


class LeastRequest(Counted):
    """The least busy of ``choices`` drawn hosts; the one drawn first wins a tie. Fewer than two
    choices would not be a choice."""

    def __init__(self, choices: int = 2) -> None:
        super().__init__()
        if choices < 2:
            raise ValueError(f"least_request wants at least 2 choices, not {choices}")
        self._choices = choices

    def pick(
        self,
        now: float,
        rng: random.Random,
        *,
        hash_value: int | None = None,
        excluded: Collection[Host] = (),
    ) -> Host | None:
        usable = self.usable(excluded)
        drawn = rng.sample(usable, min(self._choices, len(usable)))
        return min(drawn, key=self._load, default=None)

    def _load(self, host: Host) -> float:
        return self.active[host.key] / host.weight


class LeastConnections(LeastRequest):
    """The least busy of all hosts; of SCAN_MAX drawn ones when there are more. Ties are drawn."""

    def __init__(self) -> None:
        super().__init__(SCAN_MAX)
