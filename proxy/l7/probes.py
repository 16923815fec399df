"""What probes say of hosts (contract D.9): so many failures in a row take one out, so many answers
bring it back. Pure counting; every host is well until a probe says otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.l7.settings import Probing


@dataclass(slots=True)
class _Seen:
    down: bool = False
    against: int = 0


class Probes:
    """The hosts of one target, by their keys."""

    def __init__(self, probing: Probing) -> None:
        self._probing = probing
        self._seen: dict[object, _Seen] = {}
        self._down: frozenset[object] = frozenset()
        #: How often one was taken out.
        self.taken_out = 0

    @property
    def down(self) -> frozenset[object]:
        """The hosts that are not to be asked."""
        return self._down

    def update(self, keys: Iterable[object]) -> None:
        """These are the hosts now."""
        self._seen = {key: self._seen.get(key) or _Seen() for key in keys}
        self._settle()

    def heard(self, key: object, *, well: bool) -> bool:
        """A probe ended; whether that changes what is known of the host."""
        seen = self._seen.get(key)
        if seen is None:
            return False
        if well is not seen.down:
            seen.against = 0
            return False
        seen.against += 1
        if seen.against < (self._probing.up if seen.down else self._probing.down):
            return False
        seen.down, seen.against = not seen.down, 0
        self.taken_out += seen.down
        self._settle()
        return True

    def _settle(self) -> None:
        self._down = frozenset(key for key, seen in self._seen.items() if seen.down)
