"""One address from 240.0.0.0/4 for each service of the mesh, and for each that a terminating
gateway links by its name, given once and kept.

Decides who gets an address, which one, and when one may be given to another: not while the service
exists under any kind or is linked, and not for a day after, since connections and caches outlive a
service. What is asked of an address is an intent to reach that service, whatever instances it has.

Off until a command switches it on, so that servers which do not know of it yet agree with those
that do. The switch is a record with an empty name.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from raftstore.commands import Applied, Outcome
from raftstore.definitions import ConfigEntry, VirtualAddress
from raftstore.entries.rules import WILDCARD
from raftstore.state.registry import Registry
from raftstore.state.sessions import Sessions
from raftstore.state.table import Table
from raftstore.virtual_commands import EnableVirtualAddresses

#: The first address of the range; .0 and .255 of each /24 are never given (mesh contract 12).
_RANGE = int(ipaddress.IPv4Address("240.0.0.0"))
_USABLE = 254
#: Replicated seconds for which nobody else gets an address that was given up.
REST_S = 24 * 3600.0
#: Addresses that are given at most; beyond it the one that rests longest is taken at once.
ADDRESSES_MAX = 1_000_000
SWITCH = ""


def nth_address(number: int) -> str:
    """The address that is given as the ``number``-th, from 1."""
    block, place = divmod(number - 1, _USABLE)
    return str(ipaddress.IPv4Address(_RANGE + block * 256 + place + 1))


class VirtualAddresses:
    """Keeps the table in step with the catalog."""

    def __init__(
        self,
        table: Table[VirtualAddress],
        registry: Registry,
        sessions: Sessions,
        gateways: Callable[[], Iterable[ConfigEntry]],
    ) -> None:
        """``sessions`` keeps the replicated time; ``gateways`` gives the entries of terminating
        gateways."""
        self._table = table
        self._gateways = gateways
        self._registry = registry
        self._sessions = sessions
        registry.on_name.append(self.settle)

    def appliers(self) -> dict[type, Callable[[int, Any], Outcome]]:
        """How each command is carried out."""
        return {EnableVirtualAddresses: self.enable}

    def enable(self, index: int, command: EnableVirtualAddresses) -> Outcome:
        """Switch it on."""
        switch = self._table.get(SWITCH)
        linked = command.linked or (switch is not None and switch.linked)
        if switch is not None and switch.linked == linked:
            return Applied(index, False)
        self._table.put(index, VirtualAddress(service=SWITCH, linked=linked))
        everybody = set(self._registry.connect) | (self._linked() if linked else set())
        for name in sorted(everybody):
            self.settle(index, name)
        return Applied(index, True)

    def relinked(self, index: int, before: ConfigEntry | None, after: ConfigEntry | None) -> None:
        """The entry of a terminating gateway was written or is gone."""
        for name in sorted(linked_by(before) ^ linked_by(after)):
            self.settle(index, name)

    def _linked(self) -> set[str]:
        return {name for entry in self._gateways() for name in linked_by(entry)}

    def _is_linked(self, name: str) -> bool:
        switch = self._table.records[SWITCH]
        return switch.linked and any(name in linked_by(entry) for entry in self._gateways())

    def settle(self, index: int, name: str) -> None:
        """An instance of ``name`` (in lower case), or a mesh endpoint of it, came or went."""
        table = self._table
        if SWITCH not in table.records:
            return
        held = table.get(name)
        reached = name in self._registry.connect or self._is_linked(name)
        if held is None:
            if reached:
                self._give(index, name)
            return
        used = reached or name in self._registry.names
        if used and held.freed_at is not None:
            table.put(index, replace(held, freed_at=None))
        elif not used and held.freed_at is None:
            table.put(index, replace(held, freed_at=self._sessions.stamp))

    def _give(self, index: int, name: str) -> None:
        table = self._table
        rested = table.due(self._sessions.stamp - REST_S, 1)
        number = len(table.records)  # the switch stands for the next one
        if not rested and number > ADDRESSES_MAX:
            rested = table.due(math.inf, 1)
            if not rested:
                return  # a million services exist: the next has none
        address = nth_address(number)
        if rested:
            table.remove(index, rested[0].service)
            address = rested[0].address
        table.put(index, VirtualAddress(service=name, address=address))

    def check(self) -> None:
        """Assert what only our own bug can break."""
        held = [record for record in self._table.all() if record.service != SWITCH]
        if SWITCH not in self._table.records:
            assert not held, "addresses were given while it was off"
            return
        addresses = {record.address for record in held}
        assert len(addresses) == len(held), "an address was given twice"
        assert addresses == {nth_address(n) for n in range(1, len(held) + 1)}, "one was lost"
        given = {record.service for record in held if record.freed_at is None}
        registry = self._registry
        assert given >= registry.connect.keys() or len(held) >= ADDRESSES_MAX
        linked = self._linked() if self._table.records[SWITCH].linked else set()
        assert given >= linked or len(held) >= ADDRESSES_MAX
        assert given <= set(registry.connect) | set(registry.names) | linked


def linked_by(entry: ConfigEntry | None) -> set[str]:
    """The services that the entry of a terminating gateway names, in lower case; those that a
    wildcard means are not among them."""
    named = () if entry is None else entry.content.get("Services") or ()
    return {str(one.get("Name", "")).lower() for one in named} - {"", WILDCARD}
