"""The deny list of the mesh's certificates: how it changes and what may be asked of it.

Numbered with commands.py and queries.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from raftstore import commands, queries
from raftstore.commands import Command
from raftstore.definitions import RevokedLeaf
from raftstore.queries import Footprint, Query


@commands.numbered(77)
@dataclass(frozen=True, slots=True)
class RevokeLeaf(Command):
    """Put certificates on the list, for ``life_s`` seconds from now on unless ``expires_at`` says
    when the certificate ends. A ``before`` of 0 is now. What is there already stays for the longer
    of both times, and up to the later moment.

    The times are the leader's, so an agent with a wrong clock revokes what is meant. Value: the
    entry's id. Rejection: the list is full.
    """

    entry: RevokedLeaf
    life_s: float


@commands.numbered(78)
@dataclass(frozen=True, slots=True)
class DropRevocations(Command):
    """Take entries from the list; absent ones are fine. Value: how many there were."""

    ids: tuple[str, ...]


@queries.numbered(77, tuple[RevokedLeaf, ...])
@dataclass(frozen=True, slots=True)
class ListRevocations(Query[tuple[RevokedLeaf, ...]]):
    """The whole list, by id."""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("ca-revocations", ""),)
