"""Everything that may be asked of the replicated state, as values.

A query names its answer's type and its footprint: the things whose change can change the answer.
One mechanism then serves blocking queries, ready answers in HTTP and DNS, and the streams of
sidecars: watch the footprint, ask again when it moves. Numbers travel between agents: ONLY APPEND.

An answer's ``index`` is the highest index of the footprint (http-api contract 1.6): for a thing
that is not there, the index of its deletion or of its table; never 0 on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from raftstore.records import (
    Actor,
    AutopilotConfig,
    CAConfig,
    CAProviderState,
    CARoot,
    Check,
    Intention,
    KVPair,
    Node,
    NodeName,
    Service,
    ServiceName,
    Session,
    SessionEnd,
    SessionTimer,
    TxnAnswer,
    TxnOperation,
)

T_co = TypeVar("T_co", covariant=True)

#: One watchable thing: (table, key). A table alone is (table, ""). Tables: "nodes", "services"
#: (all instances), "service-names" (names and their tags), "service" (one name: instances, their
#: checks, their nodes), "connect" (mesh endpoints of one name), "node" (one node with its services
#: and checks), "checks" (all checks), "kv" (one key), "kv-prefix" (all keys below), "intentions",
#: "intentions:destination" (those of one destination, in lower case), "ca-roots", "ca-config",
#: "sessions" (all), "session" (one id), "session-node" (those of one node), "autopilot",
#: "restores", "address" (who lives at one IP address).
Footprint = tuple[str, str]


class Query(Generic[T_co]):
    """Base of all queries. ``T`` is the type of the answer's value."""

    __slots__ = ()
    number: ClassVar[int] = 0
    answer_type: ClassVar[Any] = None
    #: It carries a secret of the servers: the RPC server refuses it by construction.
    server_only: ClassVar[bool] = False

    def footprint(self) -> tuple[Footprint, ...]:
        """What must move before the answer can change."""
        raise NotImplementedError


REGISTRY: dict[int, type[Query[Any]]] = {}


def numbered(number: int, answer_type: Any) -> Any:
    def register(cls: type[Query[Any]]) -> type[Query[Any]]:
        assert number not in REGISTRY, f"query number {number} is taken"
        cls.number = number
        cls.answer_type = answer_type
        REGISTRY[number] = cls
        return cls

    return register


@dataclass(frozen=True, slots=True)
class Answer(Generic[T_co]):
    """What the state says: a value and the index up to which it speaks for the footprint."""

    index: int
    value: T_co


@dataclass(frozen=True, slots=True)
class At:
    """A moment: an index, or a replicated time (Unix seconds) when ``stamp`` is set; else now."""

    index: int | None = None
    stamp: float | None = None


@dataclass(frozen=True, slots=True)
class ServiceNode:
    """An instance together with its node."""

    node: Node
    service: Service


@dataclass(frozen=True, slots=True)
class HealthEntry:
    """An instance, its node, and the checks that decide about it: the node's and its own."""

    node: Node
    service: Service
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class NodeServicesAnswer:
    """A node and what runs on it; ``node`` is None when nobody registered it."""

    node: Node | None
    services: tuple[Service, ...]


@dataclass(frozen=True, slots=True)
class CARootsAnswer:
    """All roots, and the trust domain ("<uuid>.consul", empty before the CA is set up)."""

    trust_domain: str
    roots: tuple[CARoot, ...]


@dataclass(frozen=True, slots=True)
class SessionTimersAnswer:
    """Timers in the order of their creation, and how many sessions with a TTL there are at all."""

    count: int
    timers: tuple[SessionTimer, ...]


@dataclass(frozen=True, slots=True)
class SessionLocksAnswer:
    """The first keys that a session holds, sorted, and how many it holds at all."""

    count: int
    keys: tuple[str, ...]


@numbered(1, tuple[Node, ...])
@dataclass(frozen=True, slots=True)
class ListNodes(Query[tuple[Node, ...]]):
    """All nodes, by name."""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("nodes", ""),)


@numbered(2, Mapping[str, tuple[str, ...]])
@dataclass(frozen=True, slots=True)
class ListServices(Query[Mapping[str, tuple[str, ...]]]):
    """Every service name with the union of its instances' tags."""

    node_meta: tuple[tuple[str, str], ...] = ()

    def footprint(self) -> tuple[Footprint, ...]:
        # An instance more of what is listed anyway changes what is listed of some nodes only.
        return (("services", ""), ("nodes", "")) if self.node_meta else (("service-names", ""),)


@numbered(3, tuple[ServiceNode, ...])
@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceNodes(Query[tuple[ServiceNode, ...]]):
    """Instances of one service that carry all ``tags`` (compared without case).

    With ``connect`` the mesh endpoints instead: its connect-proxies and native instances.
    """

    service: ServiceName
    tags: tuple[str, ...] = ()
    connect: bool = False

    def footprint(self) -> tuple[Footprint, ...]:
        return (("connect" if self.connect else "service", self.service.lower()),)


@numbered(4, NodeServicesAnswer)
@dataclass(frozen=True, slots=True)
class NodeServices(Query[NodeServicesAnswer]):
    """One node (name compared without case) and its services, by id."""

    node: NodeName

    def footprint(self) -> tuple[Footprint, ...]:
        return (("node", self.node.lower()),)


@numbered(5, tuple[HealthEntry, ...])
@dataclass(frozen=True, slots=True, kw_only=True)
class HealthService(Query[tuple[HealthEntry, ...]]):
    """As ``ServiceNodes`` with the deciding checks. No health filter: the face applies that.
    ``by_query`` names a prepared query whose own token counts, not that of who asks."""

    service: ServiceName
    tags: tuple[str, ...] = ()
    connect: bool = False
    by_query: str = ""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("connect" if self.connect else "service", self.service.lower()),)


@numbered(6, tuple[Check, ...])
@dataclass(frozen=True, slots=True)
class NodeChecks(Query[tuple[Check, ...]]):
    """All checks on one node, of the node and of its services."""

    node: NodeName

    def footprint(self) -> tuple[Footprint, ...]:
        return (("node", self.node.lower()),)


@numbered(7, tuple[Check, ...])
@dataclass(frozen=True, slots=True)
class ServiceChecks(Query[tuple[Check, ...]]):
    """The checks of a service's instances, without the nodes' own."""

    service: ServiceName

    def footprint(self) -> tuple[Footprint, ...]:
        return (("service", self.service.lower()),)


@numbered(8, tuple[Check, ...])
@dataclass(frozen=True, slots=True)
class ChecksInState(Query[tuple[Check, ...]]):
    """All checks in "passing", "warning", "critical" or "any" state."""

    state: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("checks", ""),)


@numbered(9, KVPair | None)
@dataclass(frozen=True, slots=True)
class KVGet(Query[KVPair | None]):
    """One key."""

    key: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("kv", self.key),)


@numbered(10, tuple[KVPair, ...])
@dataclass(frozen=True, slots=True)
class KVList(Query[tuple[KVPair, ...]]):
    """All keys with the prefix, sorted."""

    prefix: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("kv-prefix", self.prefix),)


@numbered(11, tuple[str, ...])
@dataclass(frozen=True, slots=True)
class KVKeys(Query[tuple[str, ...]]):
    """Names of the keys with the prefix, each cut after the first ``separator`` behind it."""

    prefix: str
    separator: str = ""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("kv-prefix", self.prefix),)


@numbered(12, tuple[Intention, ...])
@dataclass(frozen=True, slots=True)
class ListIntentions(Query[tuple[Intention, ...]]):
    """All intentions, by precedence, then names."""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("intentions", ""),)


@numbered(13, Mapping[str, tuple[Intention, ...]])
@dataclass(frozen=True, slots=True)
class MatchIntentions(Query[Mapping[str, tuple[Intention, ...]]]):
    """For each name the intentions whose chosen side is that name or "*", winner first."""

    by: Literal["source", "destination"]
    names: tuple[str, ...]

    def footprint(self) -> tuple[Footprint, ...]:
        if self.by == "source":
            return (("intentions", ""),)
        keys = dict.fromkeys([*(name.lower() for name in self.names), "*"])
        return tuple(("intentions:destination", key) for key in keys)


@numbered(14, Intention | None)
@dataclass(frozen=True, slots=True, kw_only=True)
class GetIntention(Query[Intention | None]):
    """One intention by pair, or by ``legacy_id`` when that is set."""

    source: ServiceName = ServiceName("")
    destination: ServiceName = ServiceName("")
    legacy_id: str = ""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("intentions", ""),)


@numbered(15, CARootsAnswer)
@dataclass(frozen=True, slots=True)
class GetCARoots(Query[CARootsAnswer]):
    """The roots that verify leaf certificates."""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("ca-roots", ""),)


@numbered(16, CAConfig | None)
@dataclass(frozen=True, slots=True)
class GetCAConfig(Query[CAConfig | None]):
    """The CA's configuration, None before it is set up."""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("ca-config", ""),)


@numbered(17, CAProviderState | None)
@dataclass(frozen=True, slots=True)
class GetCAProvider(Query[CAProviderState | None]):
    """The signing key. Answered to the server's own process only, never over the network."""

    server_only: ClassVar[bool] = True

    def footprint(self) -> tuple[Footprint, ...]:
        return (("ca-roots", ""),)


@numbered(18, Session | None)
@dataclass(frozen=True, slots=True)
class GetSession(Query[Session | None]):
    """One session by its id, in lower case."""

    id: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("session", self.id),)


@numbered(19, tuple[Session, ...])
@dataclass(frozen=True, slots=True)
class NodeSessions(Query[tuple[Session, ...]]):
    """The sessions of one node (compared without case), by id."""

    node: NodeName

    def footprint(self) -> tuple[Footprint, ...]:
        return (("session-node", self.node.lower()),)


@numbered(20, tuple[Session, ...])
@dataclass(frozen=True, slots=True)
class ListSessions(Query[tuple[Session, ...]]):
    """All sessions, by id."""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("sessions", ""),)


@numbered(21, SessionTimersAnswer)
@dataclass(frozen=True, slots=True)
class SessionTimers(Query[SessionTimersAnswer]):
    """The sessions with a TTL that were created after an index: the first ``limit``, 0 for all."""

    after: int = 0
    limit: int = 0

    def footprint(self) -> tuple[Footprint, ...]:
        return (("sessions", ""),)


@numbered(22, SessionEnd | None)
@dataclass(frozen=True, slots=True)
class WhySessionEnded(Query[SessionEnd | None]):
    """How a session ended, as long as that is remembered."""

    id: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("sessions", ""),)


@numbered(23, TxnAnswer)
@dataclass(frozen=True, slots=True)
class ReadTransaction(Query[TxnAnswer]):
    """A transaction that only reads. Verbs that write are refused as unknown."""

    operations: tuple[TxnOperation, ...]

    def footprint(self) -> tuple[Footprint, ...]:
        found: list[Footprint] = []
        for operation in self.operations:
            if operation.kv is not None:
                table = "kv-prefix" if operation.kv.verb == "get-tree" else "kv"
                found.append((table, operation.kv.key))
            elif operation.node is not None:
                found += [("node", operation.node.node.name.lower()), ("nodes", "")]
            elif operation.service is not None:
                found.append(("node", operation.service.node.lower()))
            elif operation.check is not None:
                found.append(("node", operation.check.check.node.lower()))
        return tuple(found)


@numbered(24, SessionLocksAnswer)
@dataclass(frozen=True, slots=True)
class SessionLocks(Query[SessionLocksAnswer]):
    """The keys that a session (its id in lower case) holds."""

    id: str
    limit: int = 100

    def footprint(self) -> tuple[Footprint, ...]:
        return (("kv-prefix", ""),)


@numbered(60, AutopilotConfig | None)
@dataclass(frozen=True, slots=True)
class GetAutopilot(Query[AutopilotConfig | None]):
    """The autopilot's configuration, None before a leader has written the first one."""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("autopilot", ""),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A row that a command wrote. None for ``before`` or ``after``: it was not, is not there.

    ``table`` and ``key`` name the row ("nodes", "n1"; "checks", "n1/web"); ``rows.read`` gives the
    record behind the bytes. ``command`` is the command's number. In a difference between two
    states, index, stamp, actor and command are those of the last write.
    """

    index: int
    stamp: float
    table: str
    key: str
    before: bytes | None = None
    after: bytes | None = None
    command: int = 0
    actor: Actor | None = None


@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """Changes in order. ``floor`` is the earliest index whose state can still be told; with
    ``more`` the limit cut off what follows the last change's index."""

    floor: int
    changes: tuple[Change, ...]
    more: bool = False


#: Rows in one answer about the history; one command's rows are never parted.
HISTORY_LIMIT = 1000


@numbered(30, HistoryAnswer)
@dataclass(frozen=True, slots=True, kw_only=True)
class History(Query[HistoryAnswer]):
    """What was written after ``since`` (as far back as is known) up to ``until``, oldest first.

    "" for ``table`` is every table; ``key`` is a prefix. Raises NotInHistory.
    """

    since: At | None = None
    until: At = At()
    table: str = ""
    key: str = ""
    limit: int = HISTORY_LIMIT

    def footprint(self) -> tuple[Footprint, ...]:
        return (("history", ""),)


@numbered(31, HistoryAnswer)
@dataclass(frozen=True, slots=True, kw_only=True)
class Diff(Query[HistoryAnswer]):
    """How the state at ``until`` differs from that at ``since``: the rows that are not the same,
    by table and key. Raises NotInHistory.
    """

    since: At
    until: At = At()
    table: str = ""
    key: str = ""
    limit: int = HISTORY_LIMIT

    def footprint(self) -> tuple[Footprint, ...]:
        return (("history", ""),)
