"""A served API over a real state machine in this process, and a plain client for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agent.acl.access import Access
from agent.acl.agent_tokens import AgentTokens
from agent.acl.resolver import ServerResolver
from agent.backend import Ask, Consistency, Reply, SignedLeaf
from agent.backend.coordinates import CoordinateCalls
from agent.backend.local import LeaderMethod
from agent.backend.operations import AutopilotState, ServerHealth
from agent.backend.sessions import SessionCalls
from agent.config.bounds import Limits
from agent.config.schema import AgentConfig
from agent.connect.authority import Authority
from agent.definitions import CheckDefinition, ServiceDefinition
from agent.errors import RequestError
from agent.events.log import EventLog
from agent.http.context import HttpContext
from agent.http.server import HttpServer
from agent.leader.access import AccessKeeper
from agent.leader.coordinates import CoordinateKeeper
from agent.leader.logins import LoginKeeper
from agent.leader.sessions import SessionKeeper
from gossip import UserEventArrived, UserEventTooLong
from gossip.coordinates import Coordinate
from raftstore import wire
from raftstore.commands import Command, Outcome, Register, SetCA
from raftstore.queries import Answer, NodeServices, Query
from raftstore.records import (
    Actor,
    CAConfig,
    CAProviderState,
    CARoot,
    Check,
    CheckId,
    Node,
    NodeName,
    Service,
    ServiceId,
    Weights,
)
from raftstore.state import StateMachine
from raftstore.watches import Watches
from tests.agent.http.keyed import KeyedRing

USER_EVENT_BYTES_MAX = 512
NODE_ID = "3d5c1a2b-0000-4000-8000-000000000001"
TRUST_DOMAIN = "11111111-2222-3333-4444-555555555555.consul"


class StateBackend:
    """The backend of a cluster of one whose log is instant: everything else is the real thing."""

    def __init__(self) -> None:
        self.state = StateMachine()
        self.watches = Watches(watches_max=10_000)
        self.failure: Exception | None = None
        self.changing: set[asyncio.Task[None]] = set()
        self.leader_methods: Mapping[str, LeaderMethod] = {}
        self._index = 9

    async def change(
        self, command: Command, *, actor: Actor | None = None, timeout_s: float | None = None
    ) -> Outcome:
        if self.failure is not None:
            raise self.failure
        return self.apply(command, actor)

    def apply(self, command: Command, actor: Actor | None) -> Outcome:
        self._index += 1
        outcome = self.state.apply(self._index, time.time(), command, actor=actor)
        self.watches.wake(self.state.touched())
        return outcome

    async def on_leader(self, method: str, payload: bytes) -> bytes:
        if self.failure is not None:
            raise self.failure
        return await self.leader_methods[method](payload, 7.0)

    async def ask(self, query: Query[Any], options: Ask = Ask()) -> Reply[Any]:  # noqa: B008
        if self.failure is not None:
            raise self.failure
        loop = asyncio.get_running_loop()
        deadline = loop.time() + options.wait_s
        while True:
            answer = (
                self.state.answer_at(query, options.at) if options.at else self.state.answer(query)
            )
            if answer.index > options.min_index or not options.min_index:
                break
            if loop.time() >= deadline:
                break
            changed = asyncio.Event()
            cancel = self.watches.watch_once(query.footprint(), changed.set)
            try:
                async with asyncio.timeout(deadline - loop.time()):
                    await changed.wait()
            except TimeoutError:
                pass
            finally:
                cancel()
        return Reply(value=answer.value, index=answer.index, consistency=options.consistency)

    def peek(self, query: Query[Any]) -> Reply[Any] | None:
        answer = self.state.answer(query)
        return Reply(value=answer.value, index=answer.index)

    def watch_once(
        self, query: Query[Any], on_change: Callable[[], None]
    ) -> Callable[[], None] | None:
        return self.watches.watch_once(query.footprint(), on_change)

    @property
    def acl_index(self) -> int:
        return self.state.definitions.acl_index

    known_leader = True
    last_contact_s = 0.0

    def fresh_soon(self, done: Callable[[Exception | None], None]) -> None:
        asyncio.get_running_loop().call_soon(done, self.failure)

    def watch_patiently(
        self, query: Query[Any], on_change: Callable[[], None]
    ) -> Callable[[], None]:
        return self.watches.watch_once(query.footprint(), on_change, patient=True)

    def is_long(self, query: Query[Any]) -> bool:
        return self.state.gather(query) is not None

    def index_of(self, query: Query[Any]) -> int:
        return self.state.index_of(query)

    def answer(self, query: Query[Any], mode: Consistency) -> Reply[Any]:
        answer = self.state.answer(query)
        return Reply(value=answer.value, index=answer.index, consistency=mode)

    def ask_soon(
        self, query: Query[Any], options: Ask, done: Callable[[Reply[Any] | Exception], None]
    ) -> bool:
        if options.min_index:
            return False

        async def ask() -> None:
            try:
                told: Reply[Any] | Exception = await self.ask(query, options)
            except Exception as error:
                told = error
            done(told)

        task = asyncio.get_running_loop().create_task(ask())
        self.changing.add(task)
        task.add_done_callback(self.changing.discard)
        return True

    def change_soon(
        self,
        command: Command,
        done: Callable[[Outcome | Exception], None],
        actor: Actor | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()

        async def change() -> None:
            try:
                done(await self.change(command, actor=actor))
            except Exception as error:
                done(error)

        task = loop.create_task(change())
        self.changing.add(task)
        task.add_done_callback(self.changing.discard)

    async def sign_leaf(self, csr_pem: str) -> SignedLeaf:
        raise RequestError(500, "this backend signs nothing")

    async def leader(self) -> str:
        return "127.0.0.1:8300"

    async def peers(self) -> tuple[str, ...]:
        return ("127.0.0.1:8300",)


class StateStore:
    """What the leader's duties need of a store, over the same instant log."""

    def __init__(self, backend: StateBackend) -> None:
        self._backend = backend

    def answer(self, query: Query[Any]) -> Answer[Any]:
        return self._backend.state.answer(query)

    def watch_once(self, query: Query[Any], callback: Callable[[], None]) -> Callable[[], None]:
        return self._backend.watches.watch_once(query.footprint(), callback)

    async def barrier(self, *, timeout_s: float) -> None:
        await asyncio.sleep(0)

    def propose_soon(
        self, payload: bytes, *, timeout_s: float, done: Callable[[Any], None]
    ) -> None:
        command, _, actor = wire.decode_command(payload)
        outcome = self._backend.apply(command, actor)
        asyncio.get_running_loop().call_soon(done, outcome)


class SmallOperations:
    """One server that leads; an operator can do little with it."""

    def __init__(self, address: str) -> None:
        self.asked: list[tuple[str, str]] = []
        self._address = address
        self.healthy = True

    async def remove_server(self, *, node_id: str = "", address: str = "") -> None:
        by, value = ("address", address) if address else ("id", node_id)
        if value not in {NODE_ID, self._address}:
            raise RequestError(500, f'{by} "{value}" was not found in the Raft configuration')
        self.asked.append(("remove", value))

    async def transfer_leadership(self, node_id: str = "") -> None:
        self.asked.append(("transfer", node_id))

    async def autopilot_state(self) -> AutopilotState:
        server = ServerHealth(
            node_id=NODE_ID,
            name="n1",
            address=self._address,
            status="alive",
            version="1.2.3",
            leader=True,
            voter=True,
            healthy=self.healthy,
            reason="",
            last_contact_s=0.0,
            last_term=2,
            last_index=9,
            stable_since_unix_s=1_700_000_000.25,
        )
        return AutopilotState(
            healthy=self.healthy,
            failure_tolerance=0,
            optimistic_failure_tolerance=0,
            leader=NODE_ID,
            servers=(server,),
            waiting={"other": "not in the Raft configuration yet"},
        )


class SmallLocal:
    """Keeps what is registered and tells watchers; no validation and no catalog."""

    def __init__(self, node: str) -> None:
        self._node = NodeName(node)
        self._services: dict[ServiceId, Service] = {}
        self._checks: dict[CheckId, Check] = {}
        self._callbacks: list[Callable[[], None]] = []
        self.reported: list[tuple[str, str, str]] = []
        self.definitions: list[ServiceDefinition] = []

    def services(self) -> Mapping[ServiceId, Service]:
        return self._services

    def checks(self) -> Mapping[CheckId, Check]:
        return self._checks

    async def register_service(
        self, definition: ServiceDefinition, *, replace_existing_checks: bool = False
    ) -> None:
        self.definitions.append(definition)
        service_id = ServiceId(definition.id or definition.name)
        self._services[service_id] = Service(
            node=self._node,
            id=service_id,
            name=definition.name,
            kind=definition.kind,
            tags=definition.tags,
            address=definition.address,
            port=definition.port,
            meta=definition.meta,
            weights=definition.weights or Weights(),
        )
        for number, check in enumerate(definition.checks):
            check_id = check.id or CheckId(f"service:{service_id}:{number}")
            await self.register_check(replace(check, id=check_id, service_id=service_id))
        self._changed()

    async def deregister_service(self, service_id: ServiceId) -> bool:
        found = self._services.pop(service_id, None)
        self._changed()
        return found is not None

    async def register_check(self, definition: CheckDefinition) -> None:
        check_id = definition.id or CheckId(definition.name)
        owner = self._services.get(definition.service_id)
        self._checks[check_id] = Check(
            node=self._node,
            id=check_id,
            name=definition.name,
            status=definition.status or "critical",
            service_id=definition.service_id,
            service_name=owner.name if owner else "",
            type=definition.kind,
        )
        self._changed()

    async def deregister_check(self, check_id: CheckId) -> bool:
        found = self._checks.pop(check_id, None)
        self._changed()
        return found is not None

    async def update_ttl(self, check_id: CheckId, status: str, output: str) -> None:
        if check_id not in self._checks:
            raise RequestError(500, f'CheckID "{check_id}" does not have associated TTL')
        self.reported.append((check_id, status, output))
        self._checks[check_id] = replace(self._checks[check_id], status=status, output=output)
        self._changed()

    async def set_node_maintenance(self, enable: bool, reason: str) -> None:
        await self._maintain(CheckId("_node_maintenance"), ServiceId(""), enable, reason)

    async def set_service_maintenance(
        self, service_id: ServiceId, enable: bool, reason: str
    ) -> None:
        check_id = CheckId(f"_service_maintenance:{service_id}")
        await self._maintain(check_id, service_id, enable, reason)

    async def _maintain(
        self, check_id: CheckId, service_id: ServiceId, enable: bool, reason: str
    ) -> None:
        if enable:
            self._checks[check_id] = Check(id=check_id, service_id=service_id, notes=reason)
        else:
            self._checks.pop(check_id, None)
        self._changed()

    def merged(self, service: Service) -> Service:
        return service

    def trigger_full_sync(self) -> None:
        pass

    def watch_once(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._callbacks.append(callback)

        def cancel() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return cancel

    def _changed(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


@dataclass(frozen=True, kw_only=True)
class SmallMember:
    name: str
    address: str = "127.0.0.1"
    port: int = 8301
    tags: Mapping[str, str] = field(default_factory=lambda: {"role": "consul"})
    status: int = 1
    protocol_min: int = 1
    protocol_max: int = 5
    protocol_current: int = 2
    delegate_min: int = 2
    delegate_max: int = 5
    delegate_current: int = 4


@dataclass(frozen=True)
class Joined:
    joined: int
    errors: tuple[tuple[str, str], ...]


class SmallPool:
    def __init__(self, node: str) -> None:
        self._me = SmallMember(name=node)
        self.left: list[tuple[str, bool]] = []
        self.keyed = KeyedRing(node)
        self.ring_keys = self.keyed.keys

    def members(self) -> Sequence[SmallMember]:
        return [self._me]

    def local_member(self) -> SmallMember:
        return self._me

    def coordinate(self, name: str = "") -> Coordinate:
        return Coordinate()

    async def join(self, addresses: Sequence[str]) -> Joined:
        return Joined(0, tuple((address, "connection refused") for address in addresses))

    def force_leave(self, name: str, *, prune: bool = False) -> bool:
        self.left.append((name, prune))
        return name == self._me.name


class SmallServerPool(SmallPool):
    """The servers of all datacenters: one here, and another elsewhere."""

    def __init__(self, node: str, datacenter: str) -> None:
        super().__init__(node)
        self._datacenter = datacenter

    def datacenters(self) -> list[str]:
        return [self._datacenter]

    def servers(self) -> Mapping[str, Sequence[SmallMember]]:
        return {self._datacenter: self.members()}


@dataclass(frozen=True, kw_only=True)
class SmallLeaf:
    service: str
    serial_number: str = "0a:0b"
    cert_pem: str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    private_key_pem: str = "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n"
    service_uri: str = ""
    valid_after: str = "2026-01-01T00:00:00Z"
    valid_before: str = "2026-01-04T00:00:00Z"
    create_index: int = 5
    modify_index: int = 5


class SmallLeaves:
    async def renew(self, service: str) -> SmallLeaf:
        return await self.leaf(service)

    async def leaf(self, service: str, *, min_index: int = 0, wait_s: float = 0.0) -> SmallLeaf:
        if min_index >= 5:
            await asyncio.sleep(wait_s)
        uri = f"spiffe://{TRUST_DOMAIN}/ns/default/dc/dc1/svc/{service}"
        return SmallLeaf(service=service, service_uri=uri)


def make_config(**changes: Any) -> AgentConfig:
    given: dict[str, Any] = {
        "node_name": "n1",
        "node_id": NODE_ID,
        "server": True,
        "advertise_addr": "127.0.0.1",
        "port_http": 0,
    }
    return AgentConfig(**(given | changes))


def _one_server() -> dict[str, Any]:
    server = {
        "ID": NODE_ID,
        "Node": "n1",
        "Address": "127.0.0.1:8300",
        "Leader": True,
        "ProtocolVersion": "3",
        "Voter": True,
    }
    return {"Servers": [server], "Index": 1}


class Rig:
    """A running server with everything it stands on."""

    def __init__(self, config: AgentConfig, *, prompt: bool = True, **hooks: Any) -> None:
        """``prompt`` says whether the server may answer without a task where it can."""
        self.config = config
        self.backend = StateBackend()
        self.local = SmallLocal(config.node_name)
        self.pool = SmallPool(config.node_name)
        name, datacenter = f"{config.node_name}.{config.datacenter}", config.datacenter
        self.wan = SmallServerPool(name, datacenter) if config.in_wan else None
        self.operations = SmallOperations("127.0.0.1:8300")
        self.sessions = SessionKeeper(
            StateStore(self.backend), node=config.node_name, hold_s=config.rpc_hold_timeout_s
        )
        self.coordinates = CoordinateKeeper(
            self.backend, StateStore(self.backend), config.coordinates
        )
        self.authority = Authority(self.backend, datacenter=config.datacenter, config={})
        tokens = AgentTokens(config.acl.tokens)
        self.access = Access(
            config.acl,
            self.backend,
            resolver=ServerResolver(
                self.backend,
                config.acl,
                tokens,
                node=config.node_name,
                datacenter=config.datacenter,
                unix_clock=lambda: time.time(),
            ),
            tokens=tokens,
            unix_clock=lambda: time.time(),
        )
        self.keeper = AccessKeeper(self.backend, config.acl, data_dir="")
        self.logins = LoginKeeper(self.backend, datacenter=config.datacenter)
        self.backend.leader_methods = (
            self.sessions.methods
            | self.coordinates.methods
            | self.keeper.methods
            | self.authority.methods
            | self.logins.methods
        )
        self.events = EventLog(config.node_name, send=self._deliver, now=time.time)
        self.events.ready(lambda: self.context.local.services().values())
        self._ltime = 0
        self._duties_watches = 0
        self._terms: list[asyncio.Task[None]] = []
        self.context = HttpContext(
            config=config,
            backend=self.backend,
            prompt=self.backend if prompt else None,
            local=self.local,
            gossip=self.pool,
            wan=self.wan,
            events=self.events,
            leaves=SmallLeaves(),
            operations=self.operations,
            sessions=SessionCalls(self.backend),
            coordinates=CoordinateCalls(self.backend),
            access=self.access,
            raft_status=_one_server,
            **hooks,
        )
        self.server = HttpServer(self.context)

    def _deliver(self, name: str, payload: bytes) -> None:
        """A ring of one."""
        if len(name) + len(payload) > USER_EVENT_BYTES_MAX:
            raise UserEventTooLong(USER_EVENT_BYTES_MAX, "before")
        self._ltime += 1
        self.events.arrived(UserEventArrived(self._ltime, name, payload))

    def use_local(self, local: Any) -> None:
        """Serve another local agent than the small one; before ``start``."""
        self.context = replace(self.context, local=local)
        self.server = HttpServer(self.context)

    async def start(self) -> Rig:
        if self.backend.state.answer(NodeServices(NodeName("n1"))).value.node is None:
            await self.backend.change(
                Register(node=Node(name=NodeName("n1"), address="127.0.0.1", datacenter="dc1"))
            )
        await self.backend.change(a_ca())
        if self.config.acl.enabled:
            await self.keeper.ensure()
        loop = asyncio.get_running_loop()
        self._terms = [loop.create_task(duty.run()) for duty in (self.sessions, self.coordinates)]
        await asyncio.sleep(0)
        await self.server.start()
        # The server has seen this client's header lines before any test begins.
        async with Client(self.port) as client:
            for method, body in (("GET", None), ("PUT", b"x"), ("DELETE", None)):
                await client.ask(method, "/v1/nope", body)
        self._duties_watches = len(self.backend.watches)
        return self

    @property
    def watches(self) -> int:
        """What requests watch: the leader's duties have watches of their own."""
        return len(self.backend.watches) - self._duties_watches

    @property
    def port(self) -> int:
        return self.server.addresses[0][1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        await self.server.stop()
        for term in self._terms:
            term.cancel()
        if self._terms:
            await asyncio.wait(self._terms)
        await self.sessions.close()
        await self.logins.close()


def a_ca() -> SetCA:
    root = CARoot(
        id="ab:cd",
        name="root",
        serial_number=1,
        signing_key_id="aa",
        external_trust_domain=TRUST_DOMAIN.removesuffix(".consul"),
        not_before="2026-01-01T00:00:00Z",
        not_after="2036-01-01T00:00:00Z",
        root_cert="-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
    )
    config = CAConfig(
        cluster_id=TRUST_DOMAIN.removesuffix(".consul"),
        config={"IntermediateCertTTL": "8760h", "LeafCertTTL": "72h"},
    )
    return SetCA(
        cas=0,
        config=config,
        roots=(root,),
        provider=CAProviderState(root_id="ab:cd", private_key="k", root_cert="c"),
    )


@dataclass
class Got:
    """A parsed reply; header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def index(self) -> int:
        return int(self.headers["x-consul-index"])


class Client:
    """One keep-alive connection that sends exactly what it is told."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Client:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):  # the server may have ended it
            await self.writer.wait_closed()

    async def send(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
        await self.writer.drain()

    async def receive(self, method: str = "GET") -> Got:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        status = int(head[0].split(" ")[1])
        headers = {}
        for line in head[1:]:
            if line:
                name, _, value = line.partition(": ")
                headers[name.lower()] = value
        size = int(headers.get("content-length", "0"))
        body = await self.reader.readexactly(size) if method != "HEAD" else b""
        return Got(status, headers, body)

    async def ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Got:
        await self.send(method, target, body, headers)
        return await self.receive(method)

    async def put(self, target: str, value: Any = None) -> Got:
        body = b"" if value is None else json.dumps(value).encode()
        return await self.ask("PUT", target, body)

    async def get(self, target: str, **headers: str) -> Got:
        return await self.ask("GET", target, None, headers)


def small_limits(**changes: Any) -> Limits:
    return replace(Limits(), **changes)
