"""What HTTP handlers may use, as protocols and one frozen value.

The rooms below (local, gossip, connect, the backend) are named here only by what a handler needs of
them; agent/parts/faces.py puts the real parts in.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.acl.access import Access
from agent.backend import Backend, Prompt, PromptChanges, PromptQuestions
from agent.backend.archives import Archives
from agent.backend.cache import AnswerCache
from agent.backend.operations import AutopilotState
from agent.config.schema import AgentConfig
from agent.connect.feed import Delta, Standing
from agent.definitions import CheckDefinition, ServiceDefinition
from agent.events.log import EventLog
from agent.listening import Sockets
from agent.quotas import Quotas, RequestLimits
from agent.wan.ways import Way
from gossip import KeyOperation, KeyReport, coordinates
from raftstore.definitions import Coordinate
from raftstore.records import Check, CheckId, Json, Service, ServiceId, Session

#: Answers `/v1/explain/<what>/<args...>?<query>` with data.
Explainer = Callable[[Sequence[str], Mapping[str, str]], Awaitable[Json]]


class LocalAgent(Protocol):
    """What runs on this host (agent/local/agent.py). Refusals are RequestErrors."""

    def services(self) -> Mapping[ServiceId, Service]:
        """The services registered here, in catalog form."""
        ...

    def merged(self, service: Service) -> Service:
        """A service of this host with what config entries say of its proxy."""
        ...

    def checks(self) -> Mapping[CheckId, Check]:
        """The checks registered here, in catalog form."""
        ...

    async def register_service(
        self, definition: ServiceDefinition, *, replace_existing_checks: bool = False
    ) -> None:
        """Validate, keep and announce a service."""
        ...

    async def deregister_service(self, service_id: ServiceId) -> bool:
        """Forget a service; False when it was unknown."""
        ...

    async def register_check(self, definition: CheckDefinition) -> None:
        """Validate, keep, start and announce a check."""
        ...

    async def deregister_check(self, check_id: CheckId) -> bool:
        """Forget a check; False when it was unknown."""
        ...

    async def update_ttl(self, check_id: CheckId, status: str, output: str) -> None:
        """Take the state that the application reports for its TTL check."""
        ...

    async def set_node_maintenance(self, enable: bool, reason: str) -> None:
        """Put the whole node into maintenance, or out of it."""
        ...

    async def set_service_maintenance(
        self, service_id: ServiceId, enable: bool, reason: str
    ) -> None:
        """Put one service into maintenance, or out of it."""
        ...

    def watch_once(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once at the next change of anything local; gives a function that cancels."""
        ...

    def trigger_full_sync(self) -> None:
        """Compare with the catalog at once."""
        ...


class GossipMember(Protocol):
    """A member of the gossip pool as operators see it."""

    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def tags(self) -> Mapping[str, str]: ...
    @property
    def status(self) -> int: ...
    @property
    def protocol_min(self) -> int: ...
    @property
    def protocol_max(self) -> int: ...
    @property
    def protocol_current(self) -> int: ...
    @property
    def delegate_min(self) -> int: ...
    @property
    def delegate_max(self) -> int: ...
    @property
    def delegate_current(self) -> int: ...


class JoinOutcome(Protocol):
    """How a join went: how many peers were reached, and why the others were not."""

    @property
    def joined(self) -> int: ...
    @property
    def errors(self) -> Sequence[tuple[str, str]]: ...


class KeysOfRing(Protocol):
    """The gossip keys of all members (gossip/ring_keys.py)."""

    async def list(self, *, relay_factor: int = 0) -> KeyReport:
        """What every live member holds."""
        ...

    async def change(
        self, operation: KeyOperation, key: bytes, *, relay_factor: int = 0
    ) -> KeyReport:
        """Install, use or remove a key. Raises KeyringError, QueryError."""
        ...


class GossipPool(Protocol):
    """The gossip pool of this agent."""

    @property
    def ring_keys(self) -> KeysOfRing:
        """The gossip keys of all members."""
        ...

    def members(self) -> Sequence[GossipMember]:
        """Every member this agent knows of."""
        ...

    def local_member(self) -> GossipMember:
        """This agent."""
        ...

    def coordinate(self, name: str = "") -> coordinates.Coordinate | None:
        """This agent's network coordinate; None where they are off."""
        ...

    async def join(self, addresses: Sequence[str]) -> JoinOutcome:
        """Join the pool through these peers."""
        ...

    def force_leave(self, name: str, *, prune: bool = False) -> bool:
        """Declare a failed member left; False when there is no such member."""
        ...


class ServerPool(GossipPool, Protocol):
    """The pool of the servers of all datacenters (agent/wan/pool.py)."""

    def servers(self) -> Mapping[str, Sequence[GossipMember]]:
        """The servers that are known, by datacenter."""
        ...

    def datacenters(self) -> list[str]:
        """All datacenters, the nearest first."""
        ...


class LeafView(Protocol):
    """A leaf certificate with its key. Times are RFC 3339 text."""

    @property
    def serial_number(self) -> str: ...
    @property
    def cert_pem(self) -> str: ...
    @property
    def private_key_pem(self) -> str: ...
    @property
    def service(self) -> str: ...
    @property
    def service_uri(self) -> str: ...
    @property
    def valid_after(self) -> str: ...
    @property
    def valid_before(self) -> str: ...
    @property
    def create_index(self) -> int: ...
    @property
    def modify_index(self) -> int: ...


class LeafSource(Protocol):
    """Leaf certificates for services on this host (agent/connect/leaves.py)."""

    async def leaf(self, service: str, *, min_index: int = 0, wait_s: float = 0.0) -> LeafView:
        """The present leaf; with ``min_index`` held until a newer one or ``wait_s``."""
        ...

    async def renew(self, service: str) -> LeafView:
        """A new leaf in any case."""
        ...


class ProxyFeeds(Protocol):
    """What each proxy on this host must be told (agent/connect/feeds.py)."""

    async def next(self, proxy_id: str, version: str, wait_s: float) -> Delta:
        """What is new since a version, held until there is something or ``wait_s``."""
        ...

    def heard(self, proxy_id: str, version: str, reason: str, admin_port: int = 0) -> bool:
        """What a proxy made of a version: "" that it works by it, else why it cannot."""
        ...

    def standings(self) -> Mapping[str, Standing]:
        """What is known of each proxy."""
        ...


class ServerOperations(Protocol):
    """What operators ask of the leader (agent/backend/operations.py)."""

    async def remove_server(self, *, node_id: str = "", address: str = "") -> None:
        """Take a server out of the Raft configuration."""
        ...

    async def transfer_leadership(self, node_id: str = "") -> None:
        """Hand leadership over."""
        ...

    async def autopilot_state(self) -> AutopilotState:
        """How the leader judges the servers."""
        ...


class LeaderCoordinates(Protocol):
    """Where coordinates go (agent/backend/coordinates.py)."""

    async def update(self, coordinate: Coordinate) -> None:
        """Have the leader note a node's coordinate."""
        ...


class LeaderSessions(Protocol):
    """What the leader alone knows of sessions (agent/backend/sessions.py)."""

    async def renew(self, session_id: str) -> Session | None:
        """Count a session's TTL from now; None when it is not there."""
        ...


def _no_metrics() -> str:
    return ""


def _no_stats() -> Mapping[str, Mapping[str, str]]:
    return {}


async def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpContext:
    """Everything a handler may use.

    ``raft_status`` gives the JSON of `/v1/operator/raft/configuration`
    (``{"Servers": [...], "Index": n}``); ``stats`` the sections of `/v1/agent/self`.
    ``prompt`` is the backend once more, where it can read its own state without a task,
    ``prompt_questions`` where it can ask another so, and ``prompt_changes``
    where it can carry out changes so.
    ``leave`` starts leaving and returns before the process ends, so that the client gets an answer.
    """

    config: AgentConfig
    backend: Backend
    local: LocalAgent
    gossip: GossipPool
    leaves: LeafSource
    operations: ServerOperations
    sessions: LeaderSessions
    coordinates: LeaderCoordinates
    #: Into other datacenters; None: there is none.
    way: Way | None = None
    #: None: this agent is not in it.
    wan: ServerPool | None = None
    #: None: there is no access control.
    access: Access | None = None
    archives: Archives | None = None
    feeds: ProxyFeeds | None = None
    events: EventLog | None = None
    #: Answers for `?cached`; without it they are asked for like others.
    cache: AnswerCache | None = None
    #: What listening sockets come from.
    sockets: Sockets = field(default_factory=Sockets)
    prompt: Prompt | None = None
    prompt_changes: PromptChanges | None = None
    prompt_questions: PromptQuestions | None = None
    explainers: Mapping[str, Explainer] = field(default_factory=dict)
    audit: Callable[[bytes], None] | None = None
    quotas: Quotas = field(default_factory=lambda: Quotas(RequestLimits()))
    #: Bounds that config entries set.
    entry_quotas: Quotas = field(default_factory=lambda: Quotas(RequestLimits()))
    leave: Callable[[], Awaitable[None]] = _nothing
    reload: Callable[[], Awaitable[None]] = _nothing
    metrics_text: Callable[[], str] = _no_metrics
    raft_status: Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any]]] = dict
    stats: Callable[[], Mapping[str, Mapping[str, str]]] = _no_stats
    rng: random.Random = field(default_factory=random.Random)
