"""One address from 240.0.0.0/4 for each service of the mesh, given once and kept.

Decides who gets an address, which one, and when one may be given to another: not while the service
exists under any kind, and not for a day after, since connections and caches outlive a service. What
is asked of an address is an intent to reach that service, whatever instances it has.

Off until a command switches it on, so that servers which do not know of it yet agree with those
that do. The switch is a record with an empty name.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from raftstore.commands import Applied, Outcome
from raftstore.definitions import VirtualAddress
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
        self, table: Table[VirtualAddress], registry: Registry, sessions: Sessions
    ) -> None:
        """``sessions`` keeps the replicated time."""
        self._table = table
        self._registry = registry
        self._sessions = sessions
        registry.on_name.append(self.settle)

    def appliers(self) -> dict[type, Callable[[int, Any], Outcome]]:
        """How each command is carried out."""
        return {EnableVirtualAddresses: self.enable}

    def enable(self, index: int, command: EnableVirtualAddresses) -> Outcome:
        """Switch it on."""
        if SWITCH in self._table.records:
            return Applied(index, False)
        self._table.put(index, VirtualAddress(service=SWITCH))
        for name in sorted(self._registry.connect):
            self.settle(index, name)
        return Applied(index, True)

    def settle(self, index: int, name: str) -> None:
        """An instance of ``name`` (in lower case), or a mesh endpoint of it, came or went."""
        table = self._table
        if SWITCH not in table.records:
            return
        held = table.get(name)
        in_mesh = name in self._registry.connect
        if held is None:
            if in_mesh:
                self._give(index, name)
            return
        used = in_mesh or name in self._registry.names
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
        assert all(name in registry.connect or name in registry.names for name in given)
