"""The deny list of the mesh's certificates.

Decides how long an entry stays and how many there may be; what an entry means to a connection is
proxy/revocations.py's. Entries whose certificates have all ended make room by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from raftstore.commands import Applied, Outcome, Rejected
from raftstore.definitions import RevokedLeaf
from raftstore.revocations import DropRevocations, RevokeLeaf
from raftstore.state.table import Table
from raftstore.state.tables import Indexes

#: Entries at most: every proxy holds them all. A rotation of the root revokes everything at once.
REVOCATIONS_MAX = 4096
#: Of an expired entry, so many make room with each new one.
_SWEEP = 64


def make_table(indexes: Indexes) -> Table[RevokedLeaf]:
    """The table, among those of definitions."""
    return Table(
        "ca-revocations", indexes, key=lambda each: each.id, due_at=lambda each: each.expires_at
    )


class Revocations:
    """Keeps the list."""

    def __init__(
        self, table: Table[RevokedLeaf], now: Callable[[], float], serial: Callable[[], int]
    ) -> None:
        """``now`` is the replicated time, ``serial`` the last serial number that was taken."""
        self._table = table
        self._now = now
        self._serial = serial

    def appliers(self) -> dict[type, Callable[[int, Any], Outcome]]:
        """How each command is carried out."""
        return {RevokeLeaf: self.revoke, DropRevocations: self.drop}

    def revoke(self, index: int, command: RevokeLeaf) -> Outcome:
        """Put an entry on the list."""
        now, given = self._now(), command.entry
        if not given.id or not (given.serial or given.uri):
            return Rejected(index, "a revocation names a serial number or a SPIFFE id")
        for old in self._table.due(now, _SWEEP):
            self._table.remove(index, old.id)
        stored = self._table.get(given.id)
        if stored is None and len(self._table.records) >= REVOCATIONS_MAX:
            return Rejected(
                index, f"{REVOCATIONS_MAX} revocations are in force: rotate the root instead"
            )
        entry = replace(
            given,
            before=given.before or now,
            revoked_at=now,
            expires_at=given.expires_at or now + command.life_s,
            # Of an earlier moment it is not known which had been given out.
            counter=self._serial() if given.uri and not given.before else 0,
        )
        if stored is not None:
            entry = replace(
                entry,
                before=max(entry.before, stored.before),
                expires_at=max(entry.expires_at, stored.expires_at),
                counter=max(entry.counter, stored.counter),
            )
        self._table.put(index, entry)
        return Applied(index, given.id)

    def drop(self, index: int, command: DropRevocations) -> Outcome:
        """Take entries from the list."""
        gone = [self._table.remove(index, each) for each in command.ids]
        return Applied(index, sum(map(bool, gone)))
