"""When certificates end, and when to say so. Pure.

A certificate is renewed by people here, so they are told in time: once when so many days are left,
and once when none are. A new certificate begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

DAY_S = 86_400.0
WARN_DAYS = (30, 7, 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A certificate in force. ``expires_at`` in seconds since 1970."""

    kind: str
    """certificate (ours) or authority (verifies others)."""
    subject: str
    serial: int
    expires_at: float


class ExpiryWarnings:
    """Remembers what has been said of which certificate."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, int], int] = {}

    def due(self, held: Iterable[Held], now: float) -> list[Held]:
        """Those of which it is time to say (again) that they end."""
        every = list(held)
        keys = {(each.kind, each.serial) for each in every}
        self._said = {key: days for key, days in self._said.items() if key in keys}
        due = []
        for each in every:
            passed = [days for days in WARN_DAYS if each.expires_at - now <= days * DAY_S]
            key = (each.kind, each.serial)
            if passed and passed[-1] < self._said.get(key, WARN_DAYS[0] + 1):
                self._said[key] = passed[-1]
                due.append(each)
        return due


def soonest(held: Iterable[Held], kind: str) -> Held | None:
    """The one of a kind that ends first."""
    return min((h for h in held if h.kind == kind), key=lambda h: h.expires_at, default=None)
