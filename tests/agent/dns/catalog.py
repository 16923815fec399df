"""The real state machine behind the Backend protocol, without a log, a disk or other servers."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

from agent.backend import Ask, Reply, SignedLeaf
from agent.http.parse_query import prepared_query
from agent.queries import to_content
from raftstore.commands import Applied, Command, Deregister, Outcome, Register
from raftstore.definition_commands import SetPreparedQuery
from raftstore.definitions import PreparedQuery
from raftstore.errors import NoLeader
from raftstore.queries import Query
from raftstore.records import (
    Actor,
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
from raftstore.state import StateMachine
from raftstore.watches import Watches


class Catalog:
    """A catalog that changes at once. ``remote`` behaves as an agent without data: ``peek`` and
    ``watch_once`` give None. ``down`` refuses to answer at all, ``hanging`` never ends to."""

    def __init__(self, *, remote: bool = False) -> None:
        self.state = StateMachine()
        self.watches = Watches(watches_max=10_000)
        self.remote = remote
        self.down = False
        self.hanging = False
        self.asked: list[Query[Any]] = []

    # --- what tests do

    def register(
        self, node: Node, service: Service | None = None, checks: tuple[Check, ...] = ()
    ) -> None:
        self.apply(Register(node=node, service=service, checks=checks))

    def deregister(self, node: str, service_id: str = "") -> None:
        self.apply(Deregister(node=NodeName(node), service_id=ServiceId(service_id)))

    def define_query(self, body: dict[str, Any]) -> str:
        """Write a prepared query as the HTTP API takes it; gives its id."""
        _, query = prepared_query(json.dumps(body).encode())
        record = PreparedQuery(
            id=str(uuid.UUID(int=self.state.index)),
            name=query.name,
            session=query.session,
            template=bool(query.template.type),
            content=to_content(query),
        )
        self.apply(SetPreparedQuery(record))
        return record.id

    def apply(self, command: Command) -> Outcome:
        outcome = self.state.apply(self.state.index + 1, 0.0, command)
        assert isinstance(outcome, Applied), outcome
        self.watches.wake(self.state.touched())
        return outcome

    # --- Backend

    async def change(
        self, command: Command, *, actor: Actor | None = None, timeout_s: float | None = None
    ) -> Outcome:
        return self.apply(command)

    async def ask(self, query: Query[Any], options: Ask | None = None) -> Reply[Any]:
        await asyncio.sleep(0)
        self.asked.append(query)
        if self.hanging:
            await asyncio.Event().wait()
        if self.down:
            raise NoLeader("no leader")
        return self._reply(query)

    def peek(self, query: Query[Any]) -> Reply[Any] | None:
        return None if self.remote else self._reply(query)

    def _reply(self, query: Query[Any]) -> Reply[Any]:
        answer = self.state.answer(query)
        return Reply(value=answer.value, index=answer.index)

    def watch_once(
        self, query: Query[Any], on_change: Callable[[], None]
    ) -> Callable[[], None] | None:
        if self.remote:
            return None
        return self.watches.watch_once(query.footprint(), on_change)

    async def sign_leaf(self, csr_pem: str) -> SignedLeaf:
        raise NotImplementedError

    async def leader(self) -> str:
        return ""

    async def peers(self) -> tuple[str, ...]:
        return ()


def register_json(catalog: Catalog, body: dict[str, Any]) -> None:
    """Carry out the body of a catalog registration as the corpus writes it."""
    node = Node(
        name=NodeName(body["Node"]),
        address=body["Address"],
        datacenter="dc1",
        tagged_addresses=body.get("TaggedAddresses"),
        meta=body.get("NodeMeta"),
    )
    raw = body.get("Service")
    checks = tuple(
        Check(
            node=node.name,
            id=CheckId(one["CheckID"]),
            name=one.get("Name", ""),
            status=one["Status"],
            service_id=ServiceId(one.get("ServiceID", "")),
        )
        for one in body.get("Checks", [body["Check"]] if "Check" in body else [])
    )
    catalog.register(node, None if raw is None else _service_json(raw, node.name), checks)


def _service_json(raw: dict[str, Any], node: NodeName) -> Service:
    weights = raw.get("Weights") or {}
    tagged = raw.get("TaggedAddresses")
    return Service(
        node=node,
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
