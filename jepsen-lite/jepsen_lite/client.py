"""What clients can ask of a store, whichever it is, and how an operation can end.

An outcome is ``ok`` (it happened), ``fail`` (it certainly did not) or ``info`` (nobody knows).
Calling an unknown outcome a failure would hide bugs, so when in doubt it is ``info``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from jepsen_lite.history import Json

#: What a target may offer beyond registers.
TXN, SESSIONS, BLOCKING, CATALOG, STALE_AGE = "txn", "sessions", "blocking", "catalog", "stale-age"
MESH, KEEPING = "mesh", "keeping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an operation ended. ``value`` is what was read, None for a missing key; ``age_s`` how
    old the answer may be by the server's own word."""

    type: str
    value: Json = None
    modify_index: int = 0
    age_s: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value and the index of its last change."""

    value: str
    modify_index: int


class Client(Protocol):
    """Speaks to one node. Reads that fail are ``fail``: they changed nothing.

    ``mode`` of a read is "consistent", "default" or "stale".
    """

    def write(self, key: str, value: str) -> Outcome: ...

    def compare_and_set(self, key: str, modify_index: int, value: str) -> Outcome:
        """Set a key if its modify index is still this (0: if there is no such key)."""
        ...

    def read(self, key: str, mode: str = "consistent") -> Outcome: ...

    def read_tree(self, prefix: str, mode: str = "consistent") -> tuple[Outcome, dict[str, Entry]]:
        """All keys below a prefix at one moment."""
        ...

    def commit(
        self, unchanged: Mapping[str, int], changes: Mapping[str, tuple[int, str]]
    ) -> Outcome:
        """Set all the keys of ``changes`` (to modify index and new value), if every key of both
        mappings still has this modify index (0: does not exist)."""
        ...

    def leader(self) -> str:
        """The address of the leader as this node sees it, "" for none or no answer."""
        ...


class LockClient(Protocol):
    """Sessions and locks, as Consul has them."""

    def create_session(self, ttl_s: float) -> Outcome:
        """The value is the session's id."""
        ...

    def renew_session(self, session: str) -> Outcome: ...

    def acquire(self, key: str, session: str) -> Outcome:
        """The value is the fencing token; ``fail`` when somebody else holds it."""
        ...

    def release(self, key: str, session: str) -> Outcome: ...

    def set_guarded(self, lock: str, session: str, key: str, value: str) -> Outcome:
        """Set a key if the session still holds the lock, in one transaction."""
        ...


class WatchClient(Protocol):
    """Queries that wait for a change."""

    def watch_tree(
        self, prefix: str, index: int, wait_s: float
    ) -> tuple[Outcome, dict[str, Entry]]:
        """All keys below a prefix once the index has moved on, or after the wait. The outcome's
        modify index is the index to wait for next."""
        ...


class CatalogClient(Protocol):
    """Services as HTTP and DNS show them."""

    def register(self, service: str, instance: str) -> Outcome: ...

    def deregister(self, instance: str) -> Outcome: ...

    def instances(self, service: str, mode: str) -> Outcome:
        """The value is the sorted list of instances."""
        ...

    def instances_by_dns(self, service: str) -> Outcome: ...


class MeshClient(Protocol):
    """Services with sidecars, and who may connect to them."""

    def join_mesh(
        self, front: str, back: str, address: str, app_port: int, listener_port: int
    ) -> Outcome:
        """Register two services of this node with sidecars. The application of ``back`` listens at
        this address and port; ``front`` reaches it through its sidecar at ``listener_port``."""
        ...

    def intend(self, source: str, destination: str, allowed: bool) -> Outcome: ...

    def intended(self, source: str, destination: str) -> Outcome:
        """Whether a connection is allowed, by a consistent read. The value is a boolean."""
        ...


class KeepingClient(Client, Protocol):
    """Can keep its connection."""

    def keeping(self) -> KeepingClient: ...

    def close(self) -> None: ...


class ConsulLike(Client, LockClient, WatchClient, CatalogClient, MeshClient, Protocol):
    """Everything that lictor and Consul can do."""
