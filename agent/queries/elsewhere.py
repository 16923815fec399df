"""Questions to other datacenters, as values beside the queries of the state."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from raftstore.queries import Query


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What another datacenter's state says. ``lenient``: None where nobody answers, no error."""

    datacenter: str
    query: Query[Any]
    lenient: bool = False


@dataclass(frozen=True, slots=True)
class Datacenters:
    """The names of all datacenters that are known, the nearest first."""


class Nowhere(enum.Enum):
    """Stands for the answer of a datacenter that nobody knows."""

    NOWHERE = 0


NOWHERE = Nowhere.NOWHERE

#: What carrying out a query, or answering a name, may have to know.
Question = Query[Any] | Elsewhere | Datacenters
