"""Rows that hold much, in parts: for a snapshot a node of many services, a change of many rows.

Writing and loading a row is one step, and a node may have thousands of services, a deleted tree
tens of thousands of cells. A part is a row of the same shape with some of them; the parts of a row
follow each other. The first one has the most there is room for, so a row that is not large is
written as it always was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

from raftstore.records import Check, Node, Service
from raftstore.state.history import Change
from raftstore.state.registry import NodeRow

#: Services, checks or cells in one part: loading so many takes one or two milliseconds.
PART_MAX = 64

_by_id = attrgetter("id")


@dataclass(frozen=True, slots=True)
class NodePart:
    """A node with some of what it holds, still while the state moves on."""

    node: Node
    index: int
    services: tuple[Service, ...]
    checks: tuple[Check, ...]


def node_parts(row: NodeRow) -> Iterator[NodePart]:
    """A node's row, at least one part; what it holds is in the order of the ids."""
    services = tuple(sorted(row.services.values(), key=_by_id))
    checks = tuple(sorted([c for held in row.checks.values() for c in held.values()], key=_by_id))
    for first in range(0, max(1, len(services), len(checks)), PART_MAX):
        until = first + PART_MAX
        yield NodePart(row.node, row.index, services[first:until], checks[first:until])


def change_parts(change: Change) -> Iterator[Change]:
    """A change of the journal, its weight in the first part only."""
    index, stamp, actor, number, cells, weight = change
    if len(cells) <= PART_MAX:
        yield change
        return
    for first in range(0, len(cells), PART_MAX):
        part = cells[first : first + PART_MAX]
        yield index, stamp, actor, number, part, 0 if first else weight
