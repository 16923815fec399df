"""A catalog behind the Backend protocol, a host, and definitions made by Hypothesis."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from agent.backend import Ask, Reply, SignedLeaf
from agent.definitions import CheckDefinition, ServiceDefinition
from agent.local.expand import PortRange
from agent.local.registration import Policy
from agent.local.services import LocalCheck, LocalService, LocalState
from raftstore.commands import Applied, Command, Outcome
from raftstore.queries import NodeChecks, NodeServices, Query
from raftstore.records import (
    Actor,
    Check,
    CheckId,
    ExposePath,
    Node,
    NodeId,
    NodeName,
    Proxy,
    Service,
    ServiceId,
    ServiceName,
    TaggedAddress,
    Upstream,
    Weights,
)
from raftstore.state import StateMachine

HOST = NodeName("host1")
NODE = Node(
    name=HOST,
    id=NodeId("11111111-1111-1111-1111-111111111111"),
    address="10.0.0.1",
    datacenter="dc1",
    tagged_addresses={"lan": "10.0.0.1"},
    meta={"consul-network-segment": ""},
)


class Catalog:
    """The real state machine, without a log. ``error`` is raised instead of any answer."""

    def __init__(self) -> None:
        self.machine = StateMachine()
        self.error: Exception | None = None
        self.commands: list[Command] = []
        self.gate: asyncio.Event | None = None

    def apply(self, command: Command, actor: Actor | None = None) -> Outcome:
        outcome = self.machine.apply(self.machine.index + 1, 0.0, command, actor=actor)
        self.machine.check()
        return outcome

    async def change(
        self, command: Command, *, actor: Actor | None = None, timeout_s: float | None = None
    ) -> Outcome:
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.commands.append(command)
        return self.apply(command)

    async def ask(self, query: Query[Any], options: Ask | None = None) -> Reply[Any]:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        answer = self.machine.answer(query)
        while options is not None and 0 < answer.index <= options.min_index:
            await asyncio.sleep(0.005)
            answer = self.machine.answer(query)
        return Reply(value=answer.value, index=answer.index)

    def peek(self, query: Query[Any]) -> Reply[Any] | None:
        return None

    def watch_once(self, query: Query[Any], on_change: Callable[[], None]) -> None:
        return None

    async def sign_leaf(self, csr_pem: str) -> SignedLeaf:
        raise NotImplementedError

    async def leader(self) -> str:
        return ""

    async def raft_configuration(self) -> Any:
        return ()

    # --- what tests look at

    def node(self, name: str = HOST) -> Node | None:
        return self.machine.answer(NodeServices(NodeName(name))).value.node

    def services(self, name: str = HOST) -> dict[str, Service]:
        answer = self.machine.answer(NodeServices(NodeName(name))).value
        return {service.id: service for service in answer.services}

    def checks(self, name: str = HOST) -> dict[str, Check]:
        return {c.id: c for c in self.machine.answer(NodeChecks(NodeName(name))).value}

    def register(self, command: Command) -> None:
        outcome = self.apply(command)
        assert isinstance(outcome, Applied), outcome


def policy(**changes: Any) -> Policy:
    """What an agent allows by default, with a small port range."""
    values: dict[str, Any] = {
        "node": HOST,
        "server": False,
        "ports": PortRange(21000, 21003),
        "scripts_by_request": False,
        "scripts_by_file": False,
        "services_max": 100,
        "checks_max": 100,
    }
    return Policy(**{**values, **changes})


def local_state(update_interval_s: float = 300.0, seed: int = 1) -> LocalState:
    return LocalState(check_update_interval_s=update_interval_s, rng=random.Random(seed))


def web(**fields: Any) -> ServiceDefinition:
    return ServiceDefinition(**{"name": ServiceName("web"), **fields})


def ttl(id_: str = "", **fields: Any) -> CheckDefinition:
    return CheckDefinition(**{"id": CheckId(id_), "name": id_, "ttl_s": 60.0, **fields})


async def until(look: Callable[[], Any], within_s: float = 10.0) -> Any:
    """The first true thing that ``look`` gives."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not (seen := look()):
        assert loop.time() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)
    return seen


# --- strategies: few ids, so that things collide

service_ids = st.sampled_from([ServiceId(x) for x in ("a", "b", "c", "consul")])
own_service_ids = st.sampled_from([ServiceId(x) for x in ("a", "b", "c")])
check_ids = st.sampled_from([CheckId(x) for x in ("p", "q", "r", "s")])
statuses = st.sampled_from(["passing", "warning", "critical"])
words = st.sampled_from(["", "x", "y"])
tags = st.lists(st.sampled_from(["t1", "t2", "t3"]), max_size=2, unique=True).map(tuple)


def service_records(ids: st.SearchStrategy[ServiceId]) -> st.SearchStrategy[Service]:
    return st.builds(
        Service,
        node=st.just(HOST),
        id=ids,
        name=st.sampled_from([ServiceName("web"), ServiceName("db")]),
        tags=tags,
        port=st.sampled_from([0, 80]),
        meta=st.sampled_from([None, {}, {"k": "v"}]),
        weights=st.sampled_from([Weights(), Weights(2, 1)]),
        enable_tag_override=st.booleans(),
        tagged_addresses=st.sampled_from([None, {"lan": TaggedAddress("10.0.0.9", 1)}]),
    )


def check_records(
    ids: st.SearchStrategy[CheckId], owners: st.SearchStrategy[str]
) -> st.SearchStrategy[Check]:
    return st.builds(
        Check,
        node=st.just(HOST),
        id=ids,
        name=words,
        status=statuses,
        output=words,
        service_id=owners.map(ServiceId),
    )


@st.composite
def local_states(draw: st.DrawFn) -> LocalState:
    """A state with some services and checks, some of them held back."""
    state = local_state()
    for record in draw(st.lists(service_records(own_service_ids), max_size=4)):
        state.register(LocalService(record=record, token=draw(words)))
    owners = ["", *state.services]
    for record in draw(st.lists(check_records(check_ids, st.sampled_from(owners)), max_size=5)):
        state.put_check(
            LocalCheck(record=record, definition=CheckDefinition(), token=draw(words)), 0.0
        )
    return state


proxies = st.builds(
    Proxy,
    destination_service_name=words,
    local_service_port=st.integers(0, 65535),
    config=st.none() | st.dictionaries(st.text(max_size=4), st.integers() | st.text(), max_size=2),
    upstreams=st.lists(
        st.builds(Upstream, destination_name=words, local_bind_port=st.integers(0, 9)), max_size=2
    ).map(tuple),
    mesh_gateway_mode=st.sampled_from(["", "local"]),
    expose_checks=st.booleans(),
    expose_paths=st.lists(st.builds(ExposePath, path=words), max_size=1).map(tuple),
    dialed_directly=st.booleans(),
)
