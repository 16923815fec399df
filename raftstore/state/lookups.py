"""What the catalog answers: instances by name and tag, checks, nodes, and their indexes.

Reads only. Nothing here filters by health, for the faces decide whom they leave out; but ``sample``
does, so that of a large service no more is read than is drawn.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import islice

from raftstore.catalog_queries import NodeDump, ServiceCounts
from raftstore.dns_queries import AddressHolder, HealthSample, Sample
from raftstore.queries import HealthEntry, NodeServicesAnswer, ServiceNode
from raftstore.records import (
    CONSUL_SERVICE,
    CRITICAL,
    PASSING,
    Check,
    CheckId,
    Node,
    NodeId,
    NodeName,
    Service,
    ServiceId,
)
from raftstore.state.counting import NATIVE, SERVERS
from raftstore.state.registry import NameRow, NodeRow, Registry, union_of_tags
from raftstore.state.tables import Indexes

_NODE_ITSELF = ServiceId("")


class Lookups:
    """Questions to the registry."""

    __slots__ = ("_indexes", "_listing", "_listing_index", "_registry")

    def __init__(self, registry: Registry, indexes: Indexes) -> None:
        self._registry = registry
        self._indexes = indexes
        self._listing: Mapping[str, tuple[str, ...]] = {}
        self._listing_index = -1

    def nodes(self) -> tuple[Node, ...]:
        """All nodes, by name."""
        return tuple(self.each_node())

    def each_node(self) -> Iterator[Node]:
        """The same one by one, while nothing changes; so with the others that say ``each``."""
        return (row.node for row in self._registry.nodes.values())

    def services(self, node_meta: tuple[tuple[str, str], ...]) -> Mapping[str, tuple[str, ...]]:
        """Names with their tags; the listing of all is kept until it changes."""
        if node_meta:
            return union_of_tags(self.each_service_on(node_meta))
        if not self.has_listing:
            listing: dict[str, tuple[str, ...]] = {}
            for tags in self.each_name():
                listing.update(tags)
            self.keep_listing(listing, self._indexes.of("service-names"))
        return self._listing

    @property
    def has_listing(self) -> bool:
        """Whether the listing of all services is at hand."""
        return self._indexes.of("service-names") == self._listing_index

    def keep_listing(self, listing: Mapping[str, tuple[str, ...]], index: int) -> None:
        """Keep the listing of all services, as it is at this index, until it changes."""
        self._listing, self._listing_index = listing, index

    def each_name(self) -> Iterator[Mapping[str, tuple[str, ...]]]:
        """Row by row the spellings of a name with their tags."""
        return (row.tags_by_name() for row in self._registry.names.values())

    def plain_services(self) -> Iterator[tuple[str, bool]]:
        """Services that are no proxies and no gateways, and whether they are in the mesh."""
        for key, row in self._registry.names.items():
            first = next((service for _, service in row.ordered()), None)
            if first is not None and not first.kind and key != CONSUL_SERVICE:
                yield first.name, key in self._registry.connect

    def each_service_on(self, node_meta: tuple[tuple[str, str], ...]) -> Iterator[Service]:
        """Services of the nodes with this metadata."""
        for row in self._registry.nodes.values():
            meta = row.node.meta or {}
            if all(meta.get(key) == value for key, value in node_meta):
                yield from row.services.values()

    def instances(
        self, name: str, tags: tuple[str, ...], *, connect: bool
    ) -> tuple[ServiceNode, ...]:
        """Instances with their nodes."""
        return tuple(self.each_instance(name, tags, connect=connect))

    def each_instance(
        self, name: str, tags: tuple[str, ...], *, connect: bool
    ) -> Iterator[ServiceNode]:
        """Instances with their nodes."""
        for row, service in self._named(name, tags, connect):
            yield ServiceNode(row.node, service)

    def health(self, name: str, tags: tuple[str, ...], *, connect: bool) -> tuple[HealthEntry, ...]:
        """Instances with their nodes and the checks of both."""
        return tuple(self.each_health(name, tags, connect=connect))

    def each_health(
        self, name: str, tags: tuple[str, ...], *, connect: bool
    ) -> Iterator[HealthEntry]:
        """Instances with their nodes and the checks of both."""
        for row, service in self._named(name, tags, connect):
            checks = row.checks_of(_NODE_ITSELF) + row.checks_of(service.id)
            yield HealthEntry(row.node, service, checks)

    def sample(self, query: HealthSample) -> Sample:
        """Some of the instances that may be given out, or all of them."""
        row = self._row(query.service, query.connect)
        if row is None:
            return Sample((), partial=False)
        wanted = {tag.lower() for tag in query.tags}
        items = row.instances.items()
        left = list(islice(items, query.start, query.stop) if query.stop else items)
        # Of n numbers all are as likely as can be told: n is far below 2**53.
        draw, nodes = random.Random(query.seed).random, self._registry.nodes
        found: list[HealthEntry] = []
        while left and len(found) < query.most:
            at = int(draw() * len(left))
            ((node, _), service), left[at] = left[at], left[-1]
            left.pop()
            if wanted and not wanted <= {tag.lower() for tag in service.tags}:
                continue
            held = nodes[node]
            checks = held.checks_of(_NODE_ITSELF) + held.checks_of(service.id)
            for check in checks:
                if check.status != PASSING and (query.only_passing or check.status == CRITICAL):
                    break
            else:
                found.append(HealthEntry(held.node, service, checks))
        return Sample(tuple(found), partial=bool(left), total=len(items))

    def _named(
        self, name: str, tags: tuple[str, ...], connect: bool
    ) -> Iterator[tuple[NodeRow, Service]]:
        row = self._row(name, connect)
        if row is None:
            return
        wanted = {tag.lower() for tag in tags}
        nodes = self._registry.nodes
        for (node, _), service in row.ordered():
            if not wanted or wanted <= {tag.lower() for tag in service.tags}:
                yield nodes[node], service

    def _row(self, name: str, connect: bool) -> NameRow | None:
        rows = self._registry.connect if connect else self._registry.names
        row: NameRow | None = rows.get(name.lower())
        return row

    def service_checks(self, name: str) -> tuple[Check, ...]:
        """The checks of the instances, without the nodes' own."""
        return tuple(self.each_service_check(name))

    def each_service_check(self, name: str) -> Iterator[Check]:
        """The checks of the instances, without the nodes' own."""
        for row, service in self._named(name, (), False):
            yield from row.checks_of(service.id)

    def node(self, name: NodeName) -> NodeServicesAnswer:
        """A node and its services, by id."""
        row: NodeRow | None = self._registry.nodes.get(name.lower())
        if row is None:
            return NodeServicesAnswer(None, ())
        return NodeServicesAnswer(row.node, tuple([row.services[k] for k in sorted(row.services)]))

    def holder(self, address: str) -> AddressHolder:
        """Who lives at an IP address in canonical form."""
        registry = self._registry
        nodes = registry.nodes_at.get(address)
        instances = registry.services_at.get(address)
        row: NodeRow | None = registry.nodes[min(nodes)] if nodes else None
        service: Service | None = None
        if instances:
            node, service_id = min(instances)
            service = registry.nodes[node].services[service_id]
        return AddressHolder(None if row is None else row.node, service)

    def holder_index(self) -> int:
        """Index of whatever may live at an address."""
        return max(self._indexes.of("nodes"), self._indexes.of("services"))

    def dumps(self) -> tuple[NodeDump, ...]:
        """All nodes with all that they hold, by name."""
        return tuple(self.each_dump())

    def each_dump(self) -> Iterator[NodeDump]:
        """The same one by one."""
        return (_dump(row) for row in self._registry.nodes.values())

    def dump(self, name: NodeName) -> NodeDump | None:
        """One node with all that it holds."""
        row: NodeRow | None = self._registry.nodes.get(name.lower())
        return None if row is None else _dump(row)

    def counts(self) -> ServiceCounts:
        """How many services there are; kept while they change, so this costs nothing."""
        counts = self._registry.counts
        kinds = {kind: count for (what, kind), count in counts.items() if what == "kind"}
        names = len(self._registry.names)
        return ServiceCounts(names, kinds, counts.get(NATIVE, 0), counts.get(SERVERS, 0))

    def services_index(self) -> int:
        """Index of the table of services."""
        return self._indexes.of("services")

    def dumps_index(self) -> int:
        """Index of all tables of the catalog."""
        return max(map(self._indexes.of, ("nodes", "services", "checks")))

    def find_node(self, name: NodeName, node_id: str = "") -> Node | None:
        """A node by its id if one is given, else by name."""
        key = self._registry.ids.get(NodeId(node_id)) if node_id else name.lower()
        row: NodeRow | None = None if key is None else self._registry.nodes.get(key)
        return None if row is None else row.node

    def find_service(self, node: NodeName, service_id: ServiceId) -> Service | None:
        """One service of a node."""
        row: NodeRow | None = self._registry.nodes.get(node.lower())
        return None if row is None else row.services.get(service_id)

    def find_check(self, node: NodeName, check_id: CheckId) -> Check | None:
        """One check of a node or of its services."""
        row: NodeRow | None = self._registry.nodes.get(node.lower())
        return None if row is None else row.check(check_id)

    def nodes_index(self) -> int:
        """Index of the table of nodes."""
        return self._indexes.of("nodes")

    def node_checks(self, name: NodeName) -> tuple[Check, ...]:
        """All checks on a node, by id."""
        row: NodeRow | None = self._registry.nodes.get(name.lower())
        return () if row is None else tuple(row.all_checks())

    def checks_in(self, state: str) -> tuple[Check, ...]:
        """All checks in a state, by node and id; "any" is every check."""
        return tuple(self.each_check_in(state))

    def each_check_in(self, state: str) -> Iterator[Check]:
        """All checks in a state, by node and id; "any" is every check."""
        nodes = self._registry.nodes
        if state == "any":
            for row in nodes.values():
                yield from row.all_checks()
            return
        for node, check_id in sorted(self._registry.states.get(state, ())):
            held: NodeRow = nodes[node]
            yield held.checks[held.owners[check_id]][check_id]

    def name_index(self, name: str, *, connect: bool) -> int:
        """Index of a service or of its mesh endpoints; of all services when there are none."""
        row = self._row(name, connect)
        return self._indexes.of("services") if row is None else row.index

    def node_index(self, name: NodeName) -> int:
        """Index of a node with what it holds; of all nodes when it is absent."""
        row: NodeRow | None = self._registry.nodes.get(name.lower())
        return self._indexes.of("nodes") if row is None else row.index


def _dump(row: NodeRow) -> NodeDump:
    services = tuple([row.services[key] for key in sorted(row.services)])
    return NodeDump(row.node, services, tuple(row.all_checks()))
