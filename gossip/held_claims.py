"""Claims to a name that is not free yet: kept, and judged again when it may be. Pure.

A newcomer says once that it lives. Were it forgotten because the former holder of its name failed a
moment ago, it would come back with the next full-state exchange, up to half a minute later. What is
judged again passes the same rules as when it is heard again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gossip.wire.messages import Alive

#: A claim that is refused once more is not looked at sooner, in seconds.
PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Wait:
    """What has to happen first: a time comes, or the member ``holder`` ends."""

    until: float
    holder: str = ""


class HeldClaims:
    """The newest claim to each name, a bounded number of them; the oldest make room."""

    __slots__ = ("_claims", "_limit", "deadline")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._claims: dict[str, tuple[Alive, Wait]] = {}
        #: When one is due.
        self.deadline = math.inf

    def __len__(self) -> int:
        return len(self._claims)

    def keep(self, claim: Alive, wait: Wait, now: float) -> None:
        """Remember it, unless a newer claim to the name is."""
        before = self._claims.get(claim.node)
        if before is not None and before[0].incarnation > claim.incarnation:
            return
        self._claims.pop(claim.node, None)
        if len(self._claims) >= self._limit:
            del self._claims[next(iter(self._claims))]
        until = max(wait.until, now + PAUSE_S)
        self._claims[claim.node] = (claim, Wait(until, wait.holder))
        self._settle()

    def forget(self, name: str) -> None:
        """Somebody has the name."""
        if self._claims.pop(name, None) is not None:
            self._settle()

    def ended(self, holder: str, now: float) -> None:
        """A member failed or left: who waited for that is due."""
        waiting = [name for name, (_, wait) in self._claims.items() if wait.holder == holder]
        for name in waiting:
            self._claims[name] = (self._claims[name][0], Wait(now))
        if waiting:
            self._settle()

    def take_due(self, now: float) -> list[Alive]:
        """Those that are to be judged again now."""
        if now < self.deadline:
            return []
        due = [name for name, (_, wait) in self._claims.items() if wait.until <= now]
        taken = [self._claims.pop(name)[0] for name in due]
        self._settle()
        return taken

    def _settle(self) -> None:
        self.deadline = min((wait.until for _, wait in self._claims.values()), default=math.inf)
