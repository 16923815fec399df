"""Who has a handshake under way, and who is next: fair among those who come (contract D.5). Pure.

Anybody can open connections and say nothing. When there is no place for another one, the source
that has the most gives up its oldest: somebody honest needs a few milliseconds, and gets through
beside a flood, also where both come from one address. Handshakes begin one at a time, the sources
taking turns, because each costs a millisecond that nobody else of the loop has then.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

#: An IPv6 host may be given so many leading bits for itself (RFC 6177).
IPV6_SITE_BITS = 64


class HalfOpen(Generic[T]):
    """Connections by source and since when. Whoever enters comes after all others in time."""

    def __init__(self) -> None:
        self._since: dict[T, tuple[str, float]] = {}
        self._of: dict[str, dict[T, None]] = {}

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, who: T) -> bool:
        return who in self._since

    def sources(self) -> Iterator[tuple[str, int]]:
        """Each source and how many it has."""
        for source, theirs in self._of.items():
            yield source, len(theirs)

    def enter(self, who: T, source: str, now: float, most: int) -> T | None:
        """One more; whoever has to go for it when there are more than ``most`` (1 at least)."""
        self._since[who] = source, now
        self._of.setdefault(source, {})[who] = None
        if len(self._since) <= most:
            return None
        crowd = max(self._of.values(), key=len)
        displaced = next(iter(crowd))
        self.leave(displaced)
        return displaced

    def leave(self, who: T) -> bool:
        """It is over for this one; whether it was here."""
        found = self._since.pop(who, None)
        if found is None:
            return False
        theirs = self._of[found[0]]
        del theirs[who]
        if not theirs:
            del self._of[found[0]]
        return True

    @property
    def oldest_at(self) -> float | None:
        """When the one that has been here longest came; None when nobody is here."""
        return next((since for _, since in self._since.values()), None)

    def overdue(self, came_before: float) -> list[T]:
        """Takes out all who came before a time."""
        found = []
        for who, (_, since) in self._since.items():
            if since > came_before:
                break
            found.append(who)
        for who in found:
            self.leave(who)
        return found


class Turns(Generic[T]):
    """Those who wait for their turn: sources one after another, each one's in order."""

    def __init__(self) -> None:
        self._of: dict[str, deque[T]] = {}

    def put(self, who: T, source: str) -> None:
        """One more that waits."""
        self._of.setdefault(source, deque()).append(who)

    def take(self) -> T | None:
        """The next one; None when nobody waits."""
        source = next(iter(self._of), None)
        if source is None:
            return None
        theirs = self._of.pop(source)
        found = theirs.popleft()
        if theirs:
            self._of[source] = theirs  # the last of the sources now
        return found


def site(address: str) -> str:
    """What stands for a client's address: itself, or the IPv6 network that one host may own."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, IPV6_SITE_BITS), strict=False))
