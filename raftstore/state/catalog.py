"""Nodes, services and checks: what a registration changes, and what it leaves alone.

Decides the catalog rules (http-api contract 5, agent contract 6.3): who may take a node's name,
what a rename does, which checks follow a service, and that registering a thing again unchanged
raises no index. The rows and their indexes are kept by registry.py; queries stand in lookups.py.
"""

from __future__ import annotations

from raftstore.commands import Applied, Deregister, Outcome, Register, Rejected
from raftstore.records import (
    CRITICAL,
    SERF_HEALTH,
    Check,
    CheckId,
    Node,
    NodeName,
    Service,
    ServiceId,
    ServiceName,
    replace,
)
from raftstore.state.registry import NodeRow, Registry


class Catalog:
    """Applies registrations to the registry."""

    __slots__ = ("_registry",)

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def register(self, index: int, command: Register) -> Outcome:
        """Node, service and checks in one step, or nothing at all."""
        name = command.node.name.lower()
        row: NodeRow | None = self._registry.nodes.get(name)
        keep_node = row is not None and command.skip_node_update
        refusal = None if keep_node else self._refuse_node(command.node, row)
        refusal = refusal or _refuse_holdings(command, row)
        if refusal is not None:
            return Rejected(index, refusal)
        if not keep_node:
            row = self._put_node(index, command.node)
        assert row is not None, "a node that is kept or put has a row"
        if command.service is not None:
            self._put_service(index, row, command.service)
        # Of two checks with one id the later holds, or repeating the command would flip the two.
        for check in {check.id: check for check in command.checks}.values():
            self._put_check(index, row, check)
        return Applied(index)

    def _refuse_node(self, node: Node, row: NodeRow | None) -> str | None:
        """Why the node may not be stored under its name, or None."""
        if not node.name:
            return "Must provide node"
        if row is None:
            return None  # with no address too, if it says that nodes are not to be updated
        stored = row.node
        if not node.id or node.id == stored.id:
            return None
        adopts = not stored.id and node.id not in self._registry.ids
        health = row.check(SERF_HEALTH)
        if adopts or health is None or health.status == CRITICAL:
            return None
        return (
            f"Node name {node.name} is reserved by node {stored.id} "
            f"with name {stored.name} ({stored.address})"
        )

    def _put_node(self, index: int, node: Node) -> NodeRow:
        created = index
        holder = self._registry.ids.get(node.id) if node.id else None
        if holder is not None and holder != node.name.lower():
            # A rename: what was registered under the old name goes with it, its agent registers
            # it again under the new one.
            created = self._registry.nodes[holder].node.create_index
            self._registry.remove_node(index, holder)
        row: NodeRow | None = self._registry.nodes.get(node.name.lower())
        if row is None:
            return self._registry.put_node(
                index, replace(node, create_index=created, modify_index=index)
            )
        stored = row.node
        node = replace(
            node,
            id=node.id or stored.id,  # one who does not know the id does not take it away
            create_index=stored.create_index,
            modify_index=stored.modify_index,
        )
        if node == stored:
            return row
        self._registry.put_node(index, replace(node, modify_index=index))
        if node.name != stored.name:
            self._respell(index, row)
        return row

    def _respell(self, index: int, row: NodeRow) -> None:
        """The node's name changed its case: so it does in all that carries it."""
        name = row.node.name
        for _, service in sorted(row.services.items()):
            self._registry.put_service(index, row, replace(service, node=name, modify_index=index))
        for check in list(row.all_checks()):
            self._registry.put_check(index, row, replace(check, node=name, modify_index=index))

    def _put_service(self, index: int, row: NodeRow, service: Service) -> None:
        stored = row.services.get(service.id)
        service = replace(
            service,
            node=row.node.name,
            create_index=stored.create_index if stored else index,
            modify_index=stored.modify_index if stored else index,
        )
        if service == stored:
            return
        if stored is not None:
            service = replace(service, modify_index=index)
        self._registry.put_service(index, row, service)
        for check in row.checks_of(service.id):
            self._put_check(index, row, check)  # it copies the service's name and tags

    def _put_check(self, index: int, row: NodeRow, check: Check) -> None:
        service = row.services.get(check.service_id) if check.service_id else None
        stored = row.check(check.id)
        check = replace(
            check,
            node=row.node.name,
            service_name=service.name if service else ServiceName(""),
            service_tags=service.tags if service else (),
            create_index=stored.create_index if stored else index,
            modify_index=stored.modify_index if stored else index,
        )
        if check == stored:
            return
        if stored is not None:
            check = replace(check, modify_index=index)
        self._registry.put_check(index, row, check)

    # -- one at a time, for transactions ---------------------------------------------------------

    def set_node(self, index: int, node: Node) -> str:
        """Store a node, with or without an address. Gives why not, "" if it was stored."""
        row: NodeRow | None = self._registry.nodes.get(node.name.lower())
        refusal = None if row is None else self._refuse_node(node, row)
        if refusal is None:
            self._put_node(index, node)
        return refusal or ""

    def set_service(self, index: int, node: NodeName, service: Service) -> str:
        """Store a service of a node that is there. Gives why not, "" if it was stored."""
        row: NodeRow | None = self._registry.nodes.get(node.lower())
        if row is None:
            return "Missing node registration"
        self._put_service(index, row, service)
        return ""

    def set_check(self, index: int, check: Check) -> str:
        """Store a check of a node that is there. Gives why not, "" if it was stored."""
        row: NodeRow | None = self._registry.nodes.get(check.node.lower())
        if row is None:
            return "Missing node registration"
        if check.service_id and check.service_id not in row.services:
            return "Missing service registration"
        self._put_check(index, row, check)
        return ""

    def deregister(self, index: int, command: Deregister) -> Outcome:
        """Remove a service with its checks, else a check, else the node; absent is fine."""
        row: NodeRow | None = self._registry.nodes.get(command.node.lower())
        if row is None:
            return Applied(index)
        if command.service_id:
            self._remove_service(index, row, command.service_id)
        elif command.check_id:
            self._remove_check(index, row, command.check_id)
        else:
            self._registry.remove_node(index, command.node.lower())
        return Applied(index)

    def _remove_service(self, index: int, row: NodeRow, service_id: ServiceId) -> None:
        if service_id in row.services:
            self._registry.remove_service(index, row, service_id)

    def _remove_check(self, index: int, row: NodeRow, check_id: CheckId) -> None:
        if row.check(check_id) is not None:
            self._registry.remove_check(index, row, check_id)


def _refuse_holdings(command: Register, row: NodeRow | None) -> str | None:
    """Why the service or a check may not be stored, or None."""
    service, name = command.service, command.node.name
    if service is not None and not service.name:
        return "Must provide service name with ID"
    if service is not None and not service.id:
        return "Must provide service ID"
    known = set() if row is None else row.services.keys()
    for check in command.checks:
        if not check.id:
            return "Must provide check ID"
        if check.node and check.node.lower() != name.lower():
            return f'check node "{check.node}" does not match node "{name}"'
        own = service is not None and check.service_id == service.id
        if check.service_id and not own and check.service_id not in known:
            return f'failed inserting check: Missing service registration on node "{name}"'
    return None
