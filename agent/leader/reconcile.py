"""From who is in the cluster to what the catalog says about it.

Decides by agent contract, section 6: the living are registered with a passing ``serfHealth``, the
failed turn critical, those who left are removed with all they had, and nodes that people
registered by hand are not ours. The same input plans nothing once the catalog says so already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gossip import Member, MemberStatus
from raftstore.commands import Command, Deregister, Register, Transaction
from raftstore.queries import NodeServicesAnswer
from raftstore.records import (
    CONSUL_SERVICE,
    CRITICAL,
    PASSING,
    SERF_HEALTH,
    Check,
    Node,
    NodeId,
    NodeName,
    Service,
    ServiceName,
    TxnOperation,
    TxnService,
)

SERF_HEALTH_NAME = "Serf Health Status"
ALIVE_OUTPUT = "Agent alive and reachable"
FAILED_OUTPUT = "Agent not live or unreachable"

#: A node without a member is removed only when it has been missing for this long under one
#: leader. After a restart of all servers the leader is elected before gossip has found everybody
#: again; without the pause the catalog would lose all of them, with their sessions.
ABSENCE_GRACE_S = 15.0

#: Services that go with a node in one entry of the log.
PIECE_SERVICES = 64


@dataclass(frozen=True, slots=True)
class CatalogView:
    """What the catalog says that matters here; keys are node names in lower case."""

    nodes: Mapping[str, Node] = field(default_factory=dict)
    serf_health: Mapping[str, Check] = field(default_factory=dict)
    consul_services: Mapping[str, Service] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Living:
    """Under which names (in lower case) each node id lives in gossip."""

    names: Mapping[str, frozenset[str]]

    @staticmethod
    def of(members: Iterable[Member]) -> Living:
        """Out of all members."""
        names: dict[str, frozenset[str]] = {}
        for member in members:
            node_id = member.tags.get("id", "")
            if member.status is MemberStatus.ALIVE and node_id:
                names[node_id] = names.get(node_id, frozenset()) | {member.name.lower()}
        return Living(names)

    def under(self, node_id: str, name: str) -> bool:
        """Whether it lives under this name."""
        return name.lower() in self.names.get(node_id, ())

    def elsewhere(self, node_id: str, name: str) -> bool:
        """Whether it lives under another name, and not under this one."""
        names = self.names.get(node_id, frozenset())
        return bool(names) and name.lower() not in names


@dataclass(frozen=True, slots=True)
class Decision:
    """One write and the reason for it, for the log and for ``explain``."""

    node: NodeName
    cause: str
    command: Command


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write, and which nodes are missing but not long enough (name in lower case)."""

    decisions: tuple[Decision, ...]
    absent: frozenset[str]


def plan(
    members: Iterable[Member],
    catalog: CatalogView,
    *,
    own_name: NodeName,
    datacenter: str,
    absent_since: Mapping[str, float],
    now: float,
    living: Living | None = None,
) -> Plan:
    """What brings the catalog in line with membership.

    ``living`` is who lives of all members, where ``members`` is only a part of them.
    ``absent_since`` says since when nodes with a ``serfHealth`` have had no member; a time of
    -infinity says that gossip itself has forgotten them (reaped).
    """
    decisions: list[Decision] = []
    seen: set[str] = set()
    members = tuple(members)
    living = living or Living.of(members)
    for member in members:
        name = member.name.lower()
        seen.add(name)
        if not _is_ours(member, datacenter):
            continue
        node, health = catalog.nodes.get(name), catalog.serf_health.get(name)
        match member.status:
            case MemberStatus.ALIVE:
                service = catalog.consul_services.get(name)
                if node is None and _held_by_namesake(member, catalog, living):
                    continue
                decision = _alive(member, node, health, service, datacenter)
                if decision is not None and (gone := _gone(member, node, health, living)):
                    decisions.append(gone)
            case MemberStatus.FAILED:
                decision = _failed(member, node, health, living)
            case MemberStatus.LEFT:
                decision = _left(member, node, health, own_name)
            case _:
                decision = None
        if decision is not None:
            decisions.append(decision)
    absent: set[str] = set()
    for name in catalog.serf_health.keys() - seen - {own_name.lower()}:
        missing = catalog.nodes.get(name)
        if missing is None:
            continue
        if now - absent_since.get(name, now) >= ABSENCE_GRACE_S:
            decisions.append(_remove(missing.name, "no member of the cluster (reaped)"))
        else:
            absent.add(name)
    return Plan(tuple(decisions), frozenset(absent))


def _is_ours(member: Member, datacenter: str) -> bool:
    """Whether the member is an agent of this datacenter; others gossip here by accident."""
    tags = member.tags
    return tags.get("role") in {"consul", "node"} and tags.get("dc", datacenter) == datacenter


def _alive(
    member: Member, node: Node | None, health: Check | None, service: Service | None, dc: str
) -> Decision | None:
    wanted_service = _consul_service(member)
    node_id = NodeId(member.tags.get("id", ""))
    same_node = (
        node is not None and node.address == member.address and (not node_id or node.id == node_id)
    )
    up_to_date = (
        same_node
        and health is not None
        and (health.status, health.output) == (PASSING, ALIVE_OUTPUT)
        and (wanted_service is None or _same_service(wanted_service, service))
    )
    if up_to_date:
        return None
    # The agent itself brings tagged addresses and metadata; what it brought is kept.
    record = Node(
        name=node.name if node else NodeName(member.name),
        id=node_id,
        address=member.address,
        datacenter=dc,
        tagged_addresses=node.tagged_addresses if node else None,
        meta=node.meta if node else None,
    )
    return Decision(
        record.name,
        "member is alive",
        Register(
            node=record,
            service=wanted_service,
            checks=(_serf_health(record.name, PASSING, ALIVE_OUTPUT),),
            # What the agent wrote of itself since we looked must not be lost.
            skip_node_update=node is None or same_node,
        ),
    )


def _held_by_namesake(member: Member, catalog: CatalogView, living: Living) -> bool:
    """An agent that was renamed lives under both names until the old one is found failed: what the
    catalog says of its id stays, or the two would take it from each other at every look."""
    node_id = member.tags.get("id", "")
    names = living.names.get(node_id, frozenset()) - {member.name.lower()}
    nodes = (catalog.nodes.get(name) for name in names)
    return any(node is not None and node.id == node_id for node in nodes)


def _gone(
    member: Member, node: Node | None, health: Check | None, living: Living
) -> Decision | None:
    """The name has another bearer now, and its former one was never seen to fail: while nobody led,
    or because the name was taken over at once. A passing check would keep the newcomer out."""
    node_id = member.tags.get("id", "")
    if node is None or health is None or not node.id or not node_id or node.id == node_id:
        return None
    if health.status == CRITICAL or living.under(node.id, member.name):
        return None  # two live members dispute the name: the catalog stays with the one it knows
    check = _serf_health(node.name, CRITICAL, FAILED_OUTPUT)
    return Decision(
        node.name,
        f"its name is borne by node ID {node_id} now",
        Register(node=node, checks=(check,), skip_node_update=True),
    )


def _failed(
    member: Member, node: Node | None, health: Check | None, living: Living
) -> Decision | None:
    if node is None:
        return None
    if health is None and node.id != member.tags.get("id", ""):
        return None  # the name is used by a node that somebody registered by hand
    if node.id and living.elsewhere(node.id, member.name):
        return None  # the agent lives under a new name, which takes this record away
    if health is not None and (health.status, health.output) == (CRITICAL, FAILED_OUTPUT):
        return None
    check = _serf_health(node.name, CRITICAL, FAILED_OUTPUT)
    return Decision(
        node.name,
        "gossip found the member failed",
        Register(node=node, checks=(check,), skip_node_update=True),
    )


def _left(
    member: Member, node: Node | None, health: Check | None, own_name: NodeName
) -> Decision | None:
    if node is None or member.name.lower() == own_name.lower():
        return None
    if health is None and node.id != member.tags.get("id", ""):
        return None  # the name is used by a node that somebody registered by hand
    return _remove(node.name, "member left")


def _remove(name: NodeName, cause: str) -> Decision:
    return Decision(name, cause, Deregister(node=name))


def pieces(holds: NodeServicesAnswer) -> list[Transaction]:
    """What goes before a node that is to go with more than ``PIECE_SERVICES`` services.

    One entry of the log is one step on every server, at some 40 us a service with its checks. What
    is left of them goes with the node.
    """
    if holds.node is None or len(holds.services) <= PIECE_SERVICES:
        return []
    node = holds.node.name
    gone = [
        TxnOperation(service=TxnService("delete", node, Service(id=held.id, name=held.name)))
        for held in holds.services
    ]
    return [
        Transaction(tuple(gone[start : start + PIECE_SERVICES]))
        for start in range(0, len(gone), PIECE_SERVICES)
    ]


def _serf_health(node: NodeName, status: str, output: str) -> Check:
    return Check(node=node, id=SERF_HEALTH, name=SERF_HEALTH_NAME, status=status, output=output)


def _consul_service(member: Member) -> Service | None:
    """The service that a server offers: its server port, and versions for the curious."""
    tags = member.tags
    port = tags.get("port", "")
    if tags.get("role") != "consul" or not (port.isascii() and port.isdecimal()):
        return None
    return Service(
        id=CONSUL_SERVICE,
        name=ServiceName(CONSUL_SERVICE),
        port=int(port),
        meta={
            "version": tags.get("build", "").partition(":")[0],
            "raft_version": tags.get("raft_vsn", ""),
            "serf_protocol_current": str(member.protocol_current),
            "serf_protocol_min": str(member.protocol_min),
            "serf_protocol_max": str(member.protocol_max),
            "read_replica": "true" if "read_replica" in tags else "false",
            "non_voter": "true" if "nonvoter" in tags else "false",
        },
    )


def _same_service(wanted: Service, stored: Service | None) -> bool:
    return (
        stored is not None
        and stored.port == wanted.port
        and stored.name == wanted.name
        and stored.address == wanted.address
        and dict(stored.meta or {}) == dict(wanted.meta or {})
    )
