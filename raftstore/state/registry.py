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

from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from sortedcontainers import SortedDict

from raftstore.dns_queries import canonical_address
from raftstore.records import CRITICAL, Check, CheckId, Node, NodeId, Service, ServiceId
from raftstore.state.counting import Counted, counted_as
from raftstore.state.tables import Indexes
from raftstore.state.undo import Undo

CONNECT_PROXY = "connect-proxy"

#: Cells of the indexes of the three kinds of rows.
NODE_INDEX, NAME_INDEX, CONNECT_INDEX = "#node", "#name", "#connect"

#: A name, as it is spelt, with one of its tags, "" for the name itself.
Listed = tuple[str, str]
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

    __slots__ = ("_listed", "_sorted", "_tags", "index", "instances")

    def __init__(self) -> None:
        self.index = 0
        #: How many instances stand behind each line of the list of names.
        self._listed: dict[Listed, int] = {}
        self.instances: dict[InstanceKey, Service] = {}
        self._sorted: list[tuple[InstanceKey, Service]] | None = None
        self._tags: dict[str, tuple[str, ...]] | None = None

    def put(self, key: InstanceKey, service: Service, undo: Undo) -> set[Listed]:
        """Add or replace an instance. Gives what is listed since."""
        if key in self.instances:
            self.drop(key, undo)
        self._note(key, undo)
        self.instances[key] = service
        self._forget_views()
        new = set()
        for line in _lines(service):
            undo.item(self._listed, line)
            count = self._listed.get(line, 0)
            self._listed[line] = count + 1
            if not count:
                new.add(line)
        return new

    def drop(self, key: InstanceKey, undo: Undo) -> set[Listed]:
        """Remove an instance. Gives what is not listed any more."""
        self._note(key, undo)
        service = self.instances.pop(key)
        self._forget_views()
        gone = set()
        for line in _lines(service):
            undo.item(self._listed, line)
            count = self._listed.pop(line) - 1
            if count:
                self._listed[line] = count
            else:
                gone.add(line)
        return gone

    def _note(self, key: InstanceKey, undo: Undo) -> None:
        if undo.open:
            undo.step(self._forget_views)
            undo.item(self.instances, key)

    def _forget_views(self) -> None:
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


def _lines(service: Service) -> set[Listed]:
    """What an instance adds to the list of names."""
    return {(service.name, tag) for tag in ("", *service.tags)}


def union_of_tags(services: Iterator[Service]) -> dict[str, tuple[str, ...]]:
    """Name to sorted tags over these instances."""
    tags: dict[str, set[str]] = {}
    for service in services:
        tags.setdefault(service.name, set()).update(service.tags)
    return {name: tuple(sorted(tags[name])) for name in sorted(tags)}


def _nobody(*_: object) -> None:
    return None


class Registry:
    """All rows. Names are keys in lower case: lookups compare without case.

    Who depends on a node or a check is told of its loss in the same entry, by ``on_node_removed``
    (index, node's key) and ``on_check_lost`` (index, node's key, check id, how).
    """

    __slots__ = ("_indexes", "_undo", "connect", "counts", "ids", "names", "nodes", "nodes_at",
                 "on_check_lost", "on_name", "on_node_removed", "services_at",
                 "states")  # fmt: skip

    def __init__(self, indexes: Indexes) -> None:
        self._indexes = indexes
        self._undo = indexes.undo
        self.on_check_lost: Callable[[int, str, CheckId, str], None] = _nobody
        self.nodes: SortedDict = SortedDict()  # str -> NodeRow
        self.ids: dict[NodeId, str] = {}
        #: Told of a node that goes, by its key: what hangs on it elsewhere goes with it.
        self.on_node_removed: list[Callable[[int, str], None]] = []
        #: Told of a name (in lower case) that an instance or a mesh endpoint came to or left.
        self.on_name: list[Callable[[int, str], None]] = []
        self.names: SortedDict = SortedDict()  # str -> NameRow
        self.connect: dict[str, NameRow] = {}
        #: Nodes, and instances with an address of their own, by IP address in canonical form.
        self.nodes_at: dict[str, dict[str, None]] = {}
        self.services_at: dict[str, dict[InstanceKey, None]] = {}
        #: Instances by what they count as; see ``counted_as``.
        self.counts: dict[Counted, int] = {}
        #: Checks by status, as (node's key, check id); dicts as sets with a fixed order.
        self.states: dict[str, dict[tuple[str, CheckId], None]] = {}

    def put_node(self, index: int, node: Node) -> NodeRow:
        """Store a node record; all services on it move with it."""
        key = node.name.lower()
        row: NodeRow | None = self.nodes.get(key)
        self._indexes.record(("nodes", key, None if row is None else row.node, node))
        if row is None:
            self._undo.item(self.nodes, key)
            row = self.nodes[key] = NodeRow(node)
        else:
            self._forget_id(row.node)
            self._leaves(self.nodes_at, row.node.address, key)
            self._address_moved(row.node.address)
            self._undo.attr(row, "node")
            row.node = node
        self._lives(self.nodes_at, node.address, key)
        self._address_moved(node.address)
        if node.id:
            self._undo.item(self.ids, node.id)
            self.ids[node.id] = key
        self._indexes.raise_to("nodes", index)
        self._node_moved(index, row)
        self._services_moved(index, row)
        return row

    def remove_node(self, index: int, key: str) -> None:
        """Remove a node with all it holds."""
        row: NodeRow = self.nodes[key]
        for follow in self.on_node_removed:
            follow(index, key)
        for service_id in sorted(row.services):
            self.remove_service(index, row, service_id)
        for check_id in sorted(row.owners):
            self.remove_check(index, row, check_id)
        self._undo.item(self.nodes, key)
        del self.nodes[key]
        self._indexes.record(("nodes", key, row.node, None))
        self._indexes.record((NODE_INDEX, key, row.index, 0))
        self._forget_id(row.node)
        self._leaves(self.nodes_at, row.node.address, key)
        self._address_moved(row.node.address)
        self._indexes.raise_to("nodes", index)
        self._indexes.touch("node", key)

    def _forget_id(self, node: Node) -> None:
        if node.id and self.ids.get(node.id) == node.name.lower():
            self._undo.item(self.ids, node.id)
            del self.ids[node.id]

    def _lives(self, places: dict[str, dict[Any, None]], address: str, key: Any) -> None:
        if at := canonical_address(address):
            self._put_in(places, at, key, None)

    def _leaves(self, places: dict[str, dict[Any, None]], address: str, key: Any) -> None:
        if at := canonical_address(address):
            self._take_from(places, at, key)

    def _address_moved(self, address: str) -> None:
        """Who lives there, or what is known of them, changed."""
        if at := canonical_address(address):
            self._indexes.touch("address", at)

    def put_service(self, index: int, row: NodeRow, service: Service) -> None:
        """Store an instance; it leaves the rows it no longer belongs to."""
        stored = row.services.get(service.id)
        gone = set() if stored is None else self._unlink(index, row, stored)
        self._indexes.record(("services", (row.node.name.lower(), service.id), stored, service))
        new = self._link(row, service)
        self._address_moved(service.address)
        self._indexes.raise_to("services", index)
        if new != gone:
            self._indexes.raise_to("service-names", index)
        self._service_moved(index, service)
        self._node_moved(index, row)
        self._settle(index, service, stored)

    def _settle(self, index: int, *services: Service | None) -> None:
        met = [service for service in services if service is not None]
        names = {name for service in met for _, name, _, _ in self._rows_of(service)}
        for name in sorted(names):
            for follow in self.on_name:
                follow(index, name)

    def remove_service(self, index: int, row: NodeRow, service_id: ServiceId) -> None:
        """Remove an instance with its checks."""
        for check_id in sorted(row.checks.get(service_id, {})):
            self.remove_check(index, row, check_id)
        self._undo.item(row.services, service_id)
        service = row.services.pop(service_id)
        self._indexes.record(("services", (row.node.name.lower(), service_id), service, None))
        if self._unlink(index, row, service):
            self._indexes.raise_to("service-names", index)
        self._indexes.raise_to("services", index)
        self._node_moved(index, row)
        self._settle(index, service)

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
        if check.status == CRITICAL:
            self.on_check_lost(index, row.node.name.lower(), check.id, "turned critical")

    def remove_check(self, index: int, row: NodeRow, check_id: CheckId) -> None:
        """Remove a check."""
        check = row.check(check_id)
        assert check is not None, "the caller has looked"
        self._indexes.record(("checks", (row.node.name.lower(), check_id), check, None))
        self._take_check(row, check)
        self._check_moved(index, row, check)
        self.on_check_lost(index, row.node.name.lower(), check.id, "was deregistered")

    def load_node(self, node: Node, index: int) -> NodeRow:
        """From a snapshot: as ``put_node``, but nothing moves."""
        row = self.nodes[node.name.lower()] = NodeRow(node, index)
        if at := canonical_address(node.address):
            self.nodes_at.setdefault(at, {})[node.name.lower()] = None
        if node.id:
            self.ids[node.id] = node.name.lower()
        return row

    def load_service(self, row: NodeRow, service: Service) -> None:
        """From a snapshot: as ``put_service``, but nothing moves."""
        self._link(row, service)

    def load_check(self, row: NodeRow, check: Check) -> None:
        """From a snapshot: as ``put_check``, but nothing moves."""
        self._add_check(row, check)

    def _link(self, row: NodeRow, service: Service) -> set[Listed]:
        """Put an instance into its names' rows. Gives what is new in the list of names."""
        self._undo.item(row.services, service.id)
        row.services[service.id] = service
        self._count(service, 1)
        key = (row.node.name.lower(), service.id)
        self._lives(self.services_at, service.address, key)
        listed: set[Listed] = set()
        for rows, name, _, _ in self._rows_of(service):
            if name not in rows:
                self._undo.item(rows, name)
                rows[name] = NameRow()
            new = rows[name].put(key, service, self._undo)
            if rows is self.names:
                listed = new
        return listed

    def _unlink(self, index: int, row: NodeRow, service: Service) -> set[Listed]:
        """Take an instance out of its names' rows; an emptied row is gone, its index with it.

        A name without a row has the index of the table of services, which every caller raises.
        Gives what is not in the list of names any more.
        """
        self._service_moved(index, service)
        self._address_moved(service.address)
        self._count(service, -1)
        key = (row.node.name.lower(), service.id)
        self._leaves(self.services_at, service.address, key)
        unlisted: set[Listed] = set()
        for rows, name, cells, _ in self._rows_of(service):
            gone = rows[name].drop(key, self._undo)
            if rows is self.names:
                unlisted = gone
            if not rows[name].instances:
                self._indexes.record((cells, name, rows[name].index, 0))
                self._undo.item(rows, name)
                del rows[name]
        return unlisted

    def _count(self, service: Service, more: int) -> None:
        for what in counted_as(service):
            self._undo.item(self.counts, what)
            count = self.counts.pop(what, 0) + more
            if count:
                self.counts[what] = count

    def _rows_of(
        self, service: Service
    ) -> Iterator[tuple[MutableMapping[str, NameRow], str, str, str]]:
        """Where an instance is listed, by name and as a mesh endpoint: the rows, its name in them,
        the table of their indexes, and what is touched."""
        yield self.names, service.name.lower(), NAME_INDEX, "service"
        endpoint = connect_name(service)
        if endpoint:
            yield self.connect, endpoint, CONNECT_INDEX, "connect"

    def _add_check(self, row: NodeRow, check: Check) -> None:
        self._put_in(row.checks, check.service_id, check.id, check)
        self._undo.item(row.owners, check.id)
        row.owners[check.id] = check.service_id
        self._put_in(self.states, check.status, (row.node.name.lower(), check.id), None)

    def _put_in(self, groups: dict[Any, dict[Any, Any]], group: str, key: Any, value: Any) -> None:
        if group not in groups:
            self._undo.item(groups, group)
            groups[group] = {}
        self._undo.item(groups[group], key)
        groups[group][key] = value

    def _take_from(self, groups: dict[Any, dict[Any, Any]], group: str, key: Any) -> None:
        held = groups[group]
        self._undo.item(held, key)
        del held[key]
        if not held:
            self._undo.item(groups, group)
            del groups[group]

    def _take_check(self, row: NodeRow, check: Check) -> None:
        self._take_from(row.checks, check.service_id, check.id)
        self._undo.item(row.owners, check.id)
        del row.owners[check.id]
        self._take_from(self.states, check.status, (row.node.name.lower(), check.id))

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
        self._undo.attr(row, "index")
        row.index = index
        self._indexes.touch("node", key)

    def _services_moved(self, index: int, row: NodeRow) -> None:
        for service_id in sorted(row.services):
            self._service_moved(index, row.services[service_id])

    def _service_moved(self, index: int, service: Service) -> None:
        for rows, name, cells, footprint in self._rows_of(service):
            row = rows[name]
            if row.index != index:
                self._indexes.record((cells, name, row.index, index))
                self._undo.attr(row, "index")
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
        held = [service for row in self.nodes.values() for service in row.services.values()]
        counts = Counter(what for service in held for what in counted_as(service))
        assert self.counts == counts, "services are miscounted"
        assert len(self.ids) == sum(1 for row in self.nodes.values() if row.node.id)
        assert instances == sum(len(row.instances) for row in self.names.values())
        assert endpoints == sum(len(row.instances) for row in self.connect.values())
        assert checks == sum(len(held) for held in self.states.values())
        self._check_addresses()
        for row in self.names.values():
            lines = [line for service in row.instances.values() for line in _lines(service)]
            assert row._listed == Counter(lines), "the list of names is miscounted"
        assert all(row.instances for row in (*self.names.values(), *self.connect.values()))

    def _check_addresses(self) -> None:
        nodes, services = set(), set()
        for key, row in self.nodes.items():
            nodes.add((canonical_address(row.node.address), key))
            for service in row.services.values():
                services.add((canonical_address(service.address), (key, service.id)))
        for expected, places in ((nodes, self.nodes_at), (services, self.services_at)):
            found = {(at, key) for at, held in places.items() for key in held}
            assert found == {place for place in expected if place[0]}, "an address is miscounted"
            assert all(places.values()), "an address without anybody is kept"
