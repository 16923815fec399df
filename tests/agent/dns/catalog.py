"""A catalog in memory behind the Backend protocol: what the DNS face needs and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from agent.backend import Ask, Reply, SignedLeaf
from raftstore.commands import Command, Outcome
from raftstore.errors import NoLeader
from raftstore.queries import (
    HealthEntry,
    HealthService,
    ListNodes,
    NodeServices,
    NodeServicesAnswer,
    Query,
)
from raftstore.records import (
    Check,
    CheckId,
    Node,
    NodeName,
    Proxy,
    Service,
    ServiceId,
    ServiceName,
    TaggedAddress,
    Weights,
)


class Catalog:
    """Answers catalog queries from dictionaries. ``remote`` behaves as an agent without data:
    ``peek`` and ``watch_once`` give None. ``down`` refuses to answer at all."""

    def __init__(self, *, remote: bool = False) -> None:
        self.nodes: dict[str, Node] = {}
        self.services: dict[tuple[str, str], Service] = {}
        self.checks: dict[tuple[str, str], Check] = {}
        self.remote = remote
        self.down = False
        self.index = 1
        self.asked: list[Query[Any]] = []
        self.watching: dict[Query[Any], list[Callable[[], None]]] = {}

    # --- what tests do

    def register(
        self, node: Node, service: Service | None = None, checks: tuple[Check, ...] = ()
    ) -> None:
        self.nodes[node.name.lower()] = node
        if service is not None:
            self.services[node.name, service.id] = replace(service, node=node.name)
        for check in checks:
            self.checks[node.name, check.id] = replace(check, node=node.name)
        self._moved()

    def deregister(self, node: str, service_id: str = "") -> None:
        for table in (self.services, self.checks):
            for key in [k for k in table if k[0] == node]:
                if not service_id or getattr(table[key], "service_id", key[1]) == service_id:
                    del table[key]
        if not service_id:
            self.nodes.pop(node.lower(), None)
        self._moved()

    def _moved(self) -> None:
        self.index += 1
        watching, self.watching = self.watching, {}
        for callbacks in watching.values():
            for callback in callbacks:
                callback()

    # --- Backend

    async def change(self, command: Command, *, timeout_s: float | None = None) -> Outcome:
        raise NotImplementedError

    async def ask(self, query: Query[Any], options: Ask | None = None) -> Reply[Any]:
        await asyncio.sleep(0)
        self.asked.append(query)
        if self.down:
            raise NoLeader("no leader")
        return Reply(value=self._answer(query), index=self.index)

    def peek(self, query: Query[Any]) -> Reply[Any] | None:
        if self.remote:
            return None
        return Reply(value=self._answer(query), index=self.index)

    def watch_once(
        self, query: Query[Any], on_change: Callable[[], None]
    ) -> Callable[[], None] | None:
        if self.remote:
            return None
        self.watching.setdefault(query, []).append(on_change)

        def cancel() -> None:
            callbacks = self.watching.get(query, [])
            if on_change in callbacks:
                callbacks.remove(on_change)

        return cancel

    async def sign_leaf(self, csr_pem: str) -> SignedLeaf:
        raise NotImplementedError

    async def leader(self) -> str:
        return ""

    async def peers(self) -> tuple[str, ...]:
        return ()

    def _answer(self, query: Query[Any]) -> Any:
        if isinstance(query, ListNodes):
            return tuple(self.nodes.values())
        if isinstance(query, NodeServices):
            return NodeServicesAnswer(self.nodes.get(query.node.lower()), ())
        assert isinstance(query, HealthService)
        return tuple(
            self._entry(service) for service in self.services.values() if _match(query, service)
        )

    def _entry(self, service: Service) -> HealthEntry:
        checks = tuple(
            check
            for check in self.checks.values()
            if check.node == service.node and check.service_id in {"", service.id}
        )
        return HealthEntry(self.nodes[service.node.lower()], service, checks)


def _match(query: HealthService, service: Service) -> bool:
    if query.connect:
        name = service.proxy.destination_service_name
        if service.connect_native:
            name = service.name
        elif service.kind != "connect-proxy":
            return False
    else:
        name = service.name
    tags = {tag.lower() for tag in service.tags}
    return name.lower() == query.service.lower() and all(t.lower() in tags for t in query.tags)


def register_json(catalog: Catalog, body: dict[str, Any]) -> None:
    """Carry out the body of a catalog registration as the corpus writes it."""
    node = Node(
        name=NodeName(body["Node"]),
        address=body["Address"],
        tagged_addresses=body.get("TaggedAddresses"),
        meta=body.get("NodeMeta"),
    )
    checks = tuple(
        Check(
            id=CheckId(raw["CheckID"]),
            name=raw.get("Name", ""),
            status=raw["Status"],
            service_id=ServiceId(raw.get("ServiceID", "")),
        )
        for raw in body.get("Checks", [body["Check"]] if "Check" in body else [])
    )
    raw = body.get("Service")
    catalog.register(node, None if raw is None else _service_json(raw), checks)


def _service_json(raw: dict[str, Any]) -> Service:
    weights = raw.get("Weights") or {}
    tagged = raw.get("TaggedAddresses")
    return Service(
        id=ServiceId(raw.get("ID") or raw["Service"]),
        name=ServiceName(raw["Service"]),
        kind=raw.get("Kind", ""),
        tags=tuple(raw.get("Tags") or ()),
        address=raw.get("Address", ""),
        tagged_addresses=None
        if tagged is None
        else {n: TaggedAddress(t["Address"], t.get("Port", 0)) for n, t in tagged.items()},
        port=raw.get("Port", 0),
        weights=Weights(weights.get("Passing", 1), weights.get("Warning", 1)),
        proxy=Proxy(
            destination_service_name=(raw.get("Proxy") or {}).get("DestinationServiceName", "")
        ),
        connect_native=bool((raw.get("Connect") or {}).get("Native")),
    )
