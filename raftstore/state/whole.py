"""All tables of one state together, for those who walk them: snapshots, listings, the past.

What is done with the tables, and what a command means, is machine.py's, which knows these modules;
they know it by what is here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

from raftstore.config import StateLimits
from raftstore.entries import kinds
from raftstore.queries import Answer, Query
from raftstore.records import Restored
from raftstore.state.autopilot import Autopilot
from raftstore.state.config_entries import ConfigEntries
from raftstore.state.connect import ConnectCA
from raftstore.state.dedupe import Dedupe
from raftstore.state.definitions import Definitions
from raftstore.state.history import History
from raftstore.state.intentions import Intentions
from raftstore.state.kv import KVStore
from raftstore.state.locks import LockDelays, Locks
from raftstore.state.lookups import Lookups
from raftstore.state.registry import Registry
from raftstore.state.revocations import Revocations
from raftstore.state.sessions import Sessions
from raftstore.state.tables import Indexes
from raftstore.state.virtual_addresses import VirtualAddresses

T = TypeVar("T")


class State(ABC):
    """The tables, and what may be asked of them as a whole."""

    def __init__(self, limits: StateLimits) -> None:
        self._limits = limits
        self._empty()

    def _empty(self) -> None:
        """Begin with nothing."""
        limits = self._limits
        self.index = 0
        self.stamp = 0.0
        self.indexes = Indexes()
        self.registry = Registry(self.indexes)
        self.kv = KVStore(self.indexes, tombstones_max=limits.tombstones_max)
        self.sessions = Sessions(self.indexes, self.registry, ended_max=limits.ended_sessions_max)
        self.locks = Locks(self.kv, self.sessions, LockDelays(self.indexes.undo))
        self.intentions = Intentions(self.indexes)
        self.ca = ConnectCA(self.indexes)
        self.autopilot = Autopilot(self.indexes)
        self.definitions = Definitions(
            self.indexes, self.registry.nodes.__contains__, self.sessions.problem
        )
        self.registry.on_node_removed.append(self.definitions.node_removed)
        self.sessions.on_ended.append(self.definitions.end_session)
        self.virtual = VirtualAddresses(
            self.definitions.virtual,
            self.registry,
            self.sessions,
            lambda: self.definitions.config.group("kind", kinds.TERMINATING),
        )
        self.revocations = Revocations(
            self.definitions.revoked, lambda: self.sessions.stamp, lambda: self.ca.serial
        )
        self.dedupe = Dedupe(limits)
        self.history = History(limits)
        self.lookups = Lookups(self.registry, self.indexes)
        self.config = ConfigEntries(
            self.indexes,
            self.definitions.config,
            self.intentions,
            trust_domain=self.ca.trust_domain,
            service_names=self.lookups.plain_services,
            health=lambda name: self.lookups.each_health(name, (), connect=False),
            relinked=self.virtual.relinked,
        )
        self.restored: Restored | None = None
        #: Index at which an archive took the place of the state: no answer's index is below.
        self.restored_index = 0

    @abstractmethod
    def index_of(self, query: Query[Any]) -> int:
        """The index that ``answer`` would give, without the value."""

    @abstractmethod
    def answer(self, query: Query[T]) -> Answer[T]:
        """What the state says now, with the highest index of the query's footprint."""

    @abstractmethod
    def gather(self, query: Query[Any]) -> Generator[None, None, Answer[Any]] | None:
        """``answer`` in steps, where that is long; None if it can be made at once."""

    @abstractmethod
    def finish(self) -> None:
        """Write all rows of the last command that are left."""

    @abstractmethod
    def dissolve(self) -> Iterator[None]:
        """Let go of a state that was replaced, in short steps."""

    @abstractmethod
    def staged_rows(self) -> list[Any]:
        """For a snapshot: the archive that is being restored, if one is."""

    @abstractmethod
    def load_staged(self, row: Any) -> None:
        """From a snapshot: one of ``staged_rows``. Raises DecodeError."""
