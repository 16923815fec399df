"""The rows of the catalog and everything that hangs together in them.

A node's row holds its services and checks; a service name's row holds its instances on all nodes;
a connect row the mesh endpoints of a name. Each row has its own index, so a reader of one name is
woken by its own instances, their checks and their nodes, and by nothing else (http-api contract
1.6). A change costs what it touches: never a walk over the catalog.

Rows are written in an order that does not depend on how they came: the journal of changes, which
keeps that order, is the same on a server that started from a snapshot.

Rules about what may be registered stand in catalog.py; this module carries out and keeps count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field

from sortedcontainers import SortedDict

from raftstore.records import Check, CheckId, Node, NodeId, Service, ServiceId
from raftstore.state.tables import Indexes

CONNECT_PROXY = "connect-proxy"

#: Cells of the indexes of the three kinds of rows.
NODE_INDEX, NAME_INDEX, CONNECT_INDEX = "#node", "#name", "#connect"

#: (node's name in lower case, service id)
InstanceKey = tuple[str, ServiceId]


def connect_name(service: Service) -> str:
    """The name, in lower case, whose mesh endpoint this instance is; "" for none."""
    if service.kind == CONNECT_PROXY:
        return service.proxy.destination_service_name.lower()
    return service.name.lower() if service.connect_native else ""


@dataclass(slots=True)
class NodeRow:
    """A node with what it holds. ``index`` is the highest of them, removals included."""

    node: Node
    index: int = 0
    services: dict[ServiceId, Service] = field(default_factory=dict)
    #: By the service they belong to; "" holds the node's own checks.
    checks: dict[ServiceId, dict[CheckId, Check]] = field(default_factory=dict)
    #: Where in ``checks`` a check id is.
    owners: dict[CheckId, ServiceId] = field(default_factory=dict)

    def check(self, check_id: CheckId) -> Check | None:
        """A check by its id, which is unique on the node."""
        owner = self.owners.get(check_id)
        return None if owner is None else self.checks[owner][check_id]

    def checks_of(self, service_id: ServiceId) -> tuple[Check, ...]:
        """The checks of one service, or with "" of the node itself, by id."""
        held = self.checks.get(service_id)
        if not held:
            return ()
        if len(held) == 1:
            return tuple(held.values())
        return tuple([held[check_id] for check_id in sorted(held)])

    def all_checks(self) -> Iterator[Check]:
        """Every check on the node, by id."""
        for check_id in sorted(self.owners):
            yield self.checks[self.owners[check_id]][check_id]


class NameRow:
    """The instances of one name on all nodes."""

    __slots__ = ("_sorted", "_tags", "index", "instances")

    def __init__(self) -> None:
        self.index = 0
        self.instances: dict[InstanceKey, Service] = {}
        self._sorted: list[tuple[InstanceKey, Service]] | None = None
        self._tags: dict[str, tuple[str, ...]] | None = None

    def put(self, key: InstanceKey, service: Service) -> None:
        """Add or replace an instance."""
        self.instances[key] = service
        self._sorted = self._tags = None

    def drop(self, key: InstanceKey) -> None:
        """Remove an instance."""
        del self.instances[key]
        self._sorted = self._tags = None

    def ordered(self) -> list[tuple[InstanceKey, Service]]:
        """The instances by node and id. Not to be changed by the caller."""
        if self._sorted is None:
            self._sorted = sorted(self.instances.items(), key=lambda item: item[0])
        return self._sorted

    def tags_by_name(self) -> dict[str, tuple[str, ...]]:
        """The union of tags per spelling of the name. Not to be changed by the caller."""
        if self._tags is None:
            self._tags = union_of_tags(service for _, service in self.ordered())
        return self._tags


def union_of_tags(services: Iterator[Service]) -> dict[str, tuple[str, ...]]:
    """Name to sorted tags over these instances."""
    tags: dict[str, set[str]] = {}
    for service in services:
        tags.setdefault(service.name, set()).update(service.tags)
    return {name: tuple(sorted(tags[name])) for name in sorted(tags)}


class Registry:
    """All rows. Names are keys in lower case: lookups compare without case."""

    __slots__ = ("_indexes", "connect", "ids", "names", "nodes", "on_node_removed", "states")

    def __init__(self, indexes: Indexes) -> None:
        self._indexes = indexes
        self.nodes: SortedDict = SortedDict()  # str -> NodeRow
        self.ids: dict[NodeId, str] = {}
        #: Told of a node that goes, by its key: what hangs on it elsewhere goes with it.
        self.on_node_removed: list[Callable[[int, str], None]] = []
        self.names: SortedDict = SortedDict()  # str -> NameRow
        self.connect: dict[str, NameRow] = {}
        #: Checks by status, as (node's key, check id); dicts as sets with a fixed order.
        self.states: dict[str, dict[tuple[str, CheckId], None]] = {}

    def put_node(self, index: int, node: Node) -> NodeRow:
        """Store a node record; all services on it move with it."""
        key = node.name.lower()
        row: NodeRow | None = self.nodes.get(key)
        self._indexes.record(("nodes", key, None if row is None else row.node, node))
        if row is None:
            row = self.nodes[key] = NodeRow(node)
        else:
            self._forget_id(row.node)
            row.node = node
        if node.id:
            self.ids[node.id] = key
        self._indexes.raise_to("nodes", index)
        self._node_moved(index, row)
        self._services_moved(index, row)
        return row

    def remove_node(self, index: int, key: str) -> None:
        """Remove a node with all it holds."""
        row: NodeRow = self.nodes[key]
        for service_id in sorted(row.services):
            self.remove_service(index, row, service_id)
        for check_id in sorted(row.owners):
            self.remove_check(index, row, check_id)
        del self.nodes[key]
        self._indexes.record(("nodes", key, row.node, None))
        self._indexes.record((NODE_INDEX, key, row.index, 0))
        for follow in self.on_node_removed:
            follow(index, key)
        self._forget_id(row.node)
        self._indexes.raise_to("nodes", index)
        self._indexes.touch("node", key)

    def _forget_id(self, node: Node) -> None:
        if node.id and self.ids.get(node.id) == node.name.lower():
            del self.ids[node.id]

    def put_service(self, index: int, row: NodeRow, service: Service) -> None:
        """Store an instance; it leaves the rows it no longer belongs to."""
        stored = row.services.get(service.id)
        if stored is not None:
            self._unlink(index, row, stored)
        self._indexes.record(("services", (row.node.name.lower(), service.id), stored, service))
        self._link(row, service)
        self._indexes.raise_to("services", index)
        self._service_moved(index, service)
        self._node_moved(index, row)

    def remove_service(self, index: int, row: NodeRow, service_id: ServiceId) -> None:
        """Remove an instance with its checks."""
        for check_id in sorted(row.checks.get(service_id, {})):
            self.remove_check(index, row, check_id)
        service = row.services.pop(service_id)
        self._indexes.record(("services", (row.node.name.lower(), service_id), service, None))
        self._unlink(index, row, service)
        self._indexes.raise_to("services", index)
        self._node_moved(index, row)

    def put_check(self, index: int, row: NodeRow, check: Check) -> None:
        """Store a check; the service it left and the one it joined both move."""
        stored = row.check(check.id)
        self._indexes.record(("checks", (row.node.name.lower(), check.id), stored, check))
        if stored is not None:
            self._take_check(row, stored)
            if stored.service_id != check.service_id:
                self._check_moved(index, row, stored)
        self._add_check(row, check)
        self._check_moved(index, row, check)

    def remove_check(self, index: int, row: NodeRow, check_id: CheckId) -> None:
        """Remove a check."""
        check = row.check(check_id)
        assert check is not None, "the caller has looked"
        self._indexes.record(("checks", (row.node.name.lower(), check_id), check, None))
        self._take_check(row, check)
        self._check_moved(index, row, check)

    def load_node(self, node: Node, index: int) -> NodeRow:
        """From a snapshot: as ``put_node``, but nothing moves."""
        row = self.nodes[node.name.lower()] = NodeRow(node, index)
        if node.id:
            self.ids[node.id] = node.name.lower()
        return row

    def load_service(self, row: NodeRow, service: Service) -> None:
        """From a snapshot: as ``put_service``, but nothing moves."""
        self._link(row, service)

    def load_check(self, row: NodeRow, check: Check) -> None:
        """From a snapshot: as ``put_check``, but nothing moves."""
        self._add_check(row, check)

    def _link(self, row: NodeRow, service: Service) -> None:
        row.services[service.id] = service
        key = (row.node.name.lower(), service.id)
        name = service.name.lower()
        if name not in self.names:
            self.names[name] = NameRow()
        self.names[name].put(key, service)
        endpoint = connect_name(service)
        if endpoint:
            self.connect.setdefault(endpoint, NameRow()).put(key, service)

    def _unlink(self, index: int, row: NodeRow, service: Service) -> None:
        """Take an instance out of its names' rows; an emptied row is gone, its index with it.

        A name without a row has the index of the table of services, which every caller raises.
        """
        self._service_moved(index, service)
        key = (row.node.name.lower(), service.id)
        name = service.name.lower()
        self._drop(self.names, name, NAME_INDEX, key)
        endpoint = connect_name(service)
        if endpoint:
            self._drop(self.connect, endpoint, CONNECT_INDEX, key)

    def _drop(
        self, rows: MutableMapping[str, NameRow], name: str, cells: str, key: InstanceKey
    ) -> None:
        row = rows[name]
        row.drop(key)
        if not row.instances:
            self._indexes.record((cells, name, row.index, 0))
            del rows[name]

    def _add_check(self, row: NodeRow, check: Check) -> None:
        row.checks.setdefault(check.service_id, {})[check.id] = check
        row.owners[check.id] = check.service_id
        key = (row.node.name.lower(), check.id)
        self.states.setdefault(check.status, {})[key] = None

    def _take_check(self, row: NodeRow, check: Check) -> None:
        held = row.checks[check.service_id]
        del held[check.id], row.owners[check.id]
        if not held:
            del row.checks[check.service_id]
        state = self.states[check.status]
        del state[(row.node.name.lower(), check.id)]
        if not state:
            del self.states[check.status]

    def _check_moved(self, index: int, row: NodeRow, check: Check) -> None:
        self._indexes.raise_to("checks", index)
        self._node_moved(index, row)
        if not check.service_id:
            self._services_moved(index, row)
        elif check.service_id in row.services:
            self._service_moved(index, row.services[check.service_id])

    def _node_moved(self, index: int, row: NodeRow) -> None:
        if row.index == index:
            return
        key = row.node.name.lower()
        self._indexes.record((NODE_INDEX, key, row.index, index))
        row.index = index
        self._indexes.touch("node", key)

    def _services_moved(self, index: int, row: NodeRow) -> None:
        for service_id in sorted(row.services):
            self._service_moved(index, row.services[service_id])

    def _service_moved(self, index: int, service: Service) -> None:
        self._name_moved(index, self.names, service.name.lower(), NAME_INDEX, "service")
        endpoint = connect_name(service)
        if endpoint:
            self._name_moved(index, self.connect, endpoint, CONNECT_INDEX, "connect")

    def _name_moved(
        self, index: int, rows: Mapping[str, NameRow], name: str, cells: str, footprint: str
    ) -> None:
        row = rows[name]
        if row.index == index:
            return
        self._indexes.record((cells, name, row.index, index))
        row.index = index
        self._indexes.touch(footprint, name)

    def check(self) -> None:
        """Assert what only our own bug can break."""
        instances = endpoints = checks = 0
        for key, row in self.nodes.items():
            assert key == row.node.name.lower(), "a node is stored under another name"
            assert not row.node.id or self.ids[row.node.id] == key, "a node's id leads elsewhere"
            assert row.node.modify_index <= row.index, "a node's row is older than its node"
            for service_id, service in row.services.items():
                assert service_id == service.id
                assert service.node == row.node.name
                name_row = self.names[service.name.lower()]
                assert name_row.instances[(key, service_id)] is service, "instance is not listed"
                assert service.modify_index <= name_row.index, "a name is older than its instance"
                instances += 1
                endpoint = connect_name(service)
                if endpoint:
                    assert self.connect[endpoint].instances[(key, service_id)] is service
                    endpoints += 1
            for check in row.all_checks():
                assert check.node == row.node.name
                assert (key, check.id) in self.states[check.status]
                assert not check.service_id or check.service_id in row.services, "orphaned check"
                checks += 1
        assert len(self.ids) == sum(1 for row in self.nodes.values() if row.node.id)
        assert instances == sum(len(row.instances) for row in self.names.values())
        assert endpoints == sum(len(row.instances) for row in self.connect.values())
        assert checks == sum(len(held) for held in self.states.values())
        assert all(row.instances for row in (*self.names.values(), *self.connect.values()))
