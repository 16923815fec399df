"""Questions about the catalog as a whole: what a user interface and an operator look at.

See queries.py; numbers travel between agents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from raftstore.queries import Footprint, Query, numbered
from raftstore.records import Check, Node, NodeName, Service


@dataclass(frozen=True, slots=True)
class NodeDump:
    """A node with all that it holds: services by id, checks by id."""

    node: Node
    services: tuple[Service, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class ServiceCounts:
    """How many names there are, and how many instances of each kind ("" is the usual one).

    ``native`` instances speak the mesh's protocol themselves. ``consul`` are the servers' own
    registrations, which the usual ones include.
    """

    names: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)
    native: int = 0
    consul: int = 0


@numbered(85, tuple[NodeDump, ...])
@dataclass(frozen=True, slots=True)
class DumpNodes(Query[tuple[NodeDump, ...]]):
    """All nodes with all that they hold, by name."""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("nodes", ""), ("services", ""), ("checks", ""))


@numbered(86, NodeDump | None)
@dataclass(frozen=True, slots=True)
class DumpNode(Query[NodeDump | None]):
    """One node (name compared without case) with all that it holds."""

    node: NodeName

    def footprint(self) -> tuple[Footprint, ...]:
        return (("node", self.node.lower()),)


@numbered(87, ServiceCounts)
@dataclass(frozen=True, slots=True)
class CountServices(Query[ServiceCounts]):
    """How many services there are."""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("services", ""),)
