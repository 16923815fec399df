"""Sessions on real servers: renewed through any, ended by the leader, kept over elections."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest

from agent.backend.remote import RemoteBackend
from agent.backend.rpc.client import RpcLimits, RpcPool
from agent.backend.servers import ServerAddress, Servers
from agent.backend.sessions import SessionCalls
from agent.errors import NoClusterLeader
from agent.leader import sessions as module
from agent.leader.sessions import CAUSE, SessionKeeper
from agent.tasks import TaskOwner
from raftstore.commands import Applied, Register, SessionCreate, SessionDestroy
from raftstore.errors import LeadershipLost, NoLeader, QueueFull
from raftstore.queries import (
    Answer,
    GetSession,
    SessionTimersAnswer,
    WhySessionEnded,
)
from raftstore.records import Node, NodeName, Session, SessionTimer
from tests.agent.backend.servers import HOLD_S, Server, followers_of, formed, leader_of, until

NODE = NodeName("n1")
FIRST, SECOND = (f"0000000{n}-0000-4000-8000-000000000000" for n in (1, 2))


class SessionServer(Server):
    """A server that looks after sessions while it leads. ``skew`` moves its clock on."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.skew = 0.0
        self.sessions = SessionKeeper(
            self.store, node=name, hold_s=2.0, clock=lambda: time.monotonic() + self.skew
        )
        self.backend.leader_methods = self.sessions.methods
        self.calls = SessionCalls(self.backend)
        self.term: asyncio.Task[None] | None = None
        self.owner = TaskOwner()
        self.on_change = self.changed

    def changed(self) -> None:
        if self.store.is_leader and self.term is None:
            self.term = self.owner.spawn(self.sessions.run(), name="sessions")
        elif not self.store.is_leader and self.term is not None:
            self.term.cancel()
            self.term = None

    def later(self, seconds: float) -> None:
        self.skew += seconds
        self.sessions._wake.set()

    def timers(self) -> int | None:
        """How many sessions it looks after; None while it does not (yet) lead."""
        return None if self.sessions._expiry is None else len(self.sessions._expiry)

    def session(self, session_id: str) -> Session | None:
        return self.store.answer(GetSession(session_id)).value

    async def stop(self) -> None:
        await self.owner.close()
        await self.sessions.close()
        await super().stop()


async def create(server: Server, session_id: str, ttl_s: float = 10.0) -> None:
    await server.backend.change(Register(node=Node(name=NODE, address="10.0.0.1")))
    session = Session(
        id=session_id, node=NODE, ttl=f"{ttl_s}s", ttl_ns=round(ttl_s * 1e9), node_checks=()
    )
    await server.backend.change(SessionCreate(session))


@pytest.fixture
async def servers() -> AsyncIterator[list[SessionServer]]:
    made = await formed([SessionServer(name) for name in ("a", "b", "c")])
    await until(lambda: leader_of(made).term is not None)
    try:
        yield made
    finally:
        for server in made:
            await server.stop()


def client_of(servers: list[SessionServer]) -> tuple[RpcPool, SessionCalls]:
    known = Servers(random.Random(1))
    known.update(ServerAddress(s.name, s.name, *s.port.address) for s in servers)
    pool = RpcPool(datacenter="dc1", node="client", limits=RpcLimits())
    backend = RemoteBackend(known, pool, sender="client", hold_s=HOLD_S, rng=random.Random(2))
    return pool, SessionCalls(backend)


async def test_a_session_ends_after_its_ttl_and_says_why(servers: list[SessionServer]) -> None:
    leader = leader_of(servers)
    await create(leader, FIRST)
    await until(lambda: leader.timers() == 1)
    leader.later(10.1)
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert leader.session(FIRST) is not None  # not at once: the margin is not over
    leader.later(0.5)
    await until(lambda: all(server.session(FIRST) is None for server in servers))
    end = leader.store.answer(WhySessionEnded(FIRST)).value
    assert end is not None and end.cause == CAUSE
    await until(lambda: leader.sessions.stats.expired == 1)
    assert leader.timers() == 0


async def test_a_renewal_through_any_agent_counts_and_writes_nothing(
    servers: list[SessionServer],
) -> None:
    leader = leader_of(servers)
    await create(leader, FIRST)
    pool, client = client_of(servers)
    index = leader.store.applied_index
    for calls in [client, *(server.calls for server in servers)]:
        leader.later(9.0)
        renewed = await calls.renew(FIRST)
        assert renewed is not None and renewed.id == FIRST
        clock = await calls.clock(FIRST)
        assert clock.known and clock.leader == leader.name and clock.since == "renewed"
        assert 10.0 < clock.left_s <= 10.5
    assert leader.store.applied_index == index
    assert leader.sessions.stats.renewals == 4
    assert (await client.clock(FIRST)).renewals == 4
    await pool.close()


async def test_what_is_not_there_cannot_be_renewed(servers: list[SessionServer]) -> None:
    leader = leader_of(servers)
    assert await followers_of(servers)[0].calls.renew(FIRST) is None
    await create(leader, FIRST)
    await leader.backend.change(SessionDestroy(FIRST))
    assert await leader.calls.renew(FIRST) is None
    assert not (await leader.calls.clock(FIRST)).known or leader.session(FIRST) is None


async def test_a_new_leader_gives_the_whole_ttl_again(servers: list[SessionServer]) -> None:
    before = leader_of(servers)
    await create(before, FIRST)
    before.later(9.0)
    others = followers_of(servers)
    await before.stop()
    await until(lambda: any(server.timers() == 1 for server in others))
    leader = leader_of(others)
    clock = await others[0].calls.clock(FIRST)
    assert clock.since == "leadership began" and clock.left_s > 9.0
    leader.later(10.6)
    await until(lambda: leader.session(FIRST) is None)
    servers.remove(before)


async def test_a_renewal_is_held_over_an_election(servers: list[SessionServer]) -> None:
    before = leader_of(servers)
    await create(before, FIRST)
    others = followers_of(servers)
    await before.stop()
    servers.remove(before)
    renewed = await others[0].calls.renew(FIRST)
    assert renewed is not None
    clock = await others[0].calls.clock(FIRST)
    assert clock.leader in {server.name for server in others} and clock.renewals >= 1


async def test_a_leader_without_a_quorum_confirms_no_renewal(servers: list[SessionServer]) -> None:
    leader = leader_of(servers)
    await create(leader, FIRST)
    for other in followers_of(servers):
        await other.stop()
        servers.remove(other)
    leader.backend._hold_s = 1.0
    with pytest.raises(NoClusterLeader):
        await leader.calls.renew(FIRST)
    # And it ends nothing: what it proposes is not committed.
    leader.later(20.0)
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert leader.session(FIRST) is not None


# -- without servers: what a store may do to an end ----------------------------------------------


class Fickle:
    """A store of one session whose answers to proposals the test gives."""

    def __init__(self) -> None:
        self.session: Session | None = Session(id=FIRST, ttl_ns=10**10, create_index=5)
        self.proposed: list[Callable[[object], None]] = []
        self.woken: Callable[[], None] = lambda: None

    def answer(self, query):
        if isinstance(query, GetSession):
            return Answer(5, self.session)
        found = self.session is not None and query.after < 5
        timers = (SessionTimer(FIRST, 10**10, 5),) if found else ()
        return Answer(5, SessionTimersAnswer(int(self.session is not None), timers))

    def watch_once(self, query, callback):
        self.woken = callback
        return lambda: None

    async def barrier(self, *, timeout_s):
        await asyncio.sleep(0)

    def propose_soon(self, payload, *, timeout_s, done):
        self.proposed.append(done)


class Alone:
    """A term over a fickle store. ``later`` moves the clock on."""

    def __init__(self) -> None:
        self.store = Fickle()
        self.skew = 0.0
        self.keeper = SessionKeeper(
            self.store, node="n", hold_s=1.0, clock=lambda: time.monotonic() + self.skew
        )
        self.owner = TaskOwner()
        self.term = self.owner.spawn(self.keeper.run(), name="term")

    def later(self, seconds: float) -> None:
        self.skew += seconds
        self.keeper._wake.set()

    async def proposals(self, count: int) -> None:
        await until(lambda: len(self.store.proposed) == count)

    async def renewing(self) -> asyncio.Task[Session | None]:
        """A renewal that waits for something."""
        renewal = self.owner.spawn(self.keeper.renew(FIRST), name="renew", awaited=True)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not renewal.done()
        return renewal


@pytest.fixture
async def alone(monkeypatch) -> AsyncIterator[Alone]:
    monkeypatch.setattr(module, "CALM_STEP_S", 0.001)
    made = Alone()
    await until(lambda: made.keeper._expiry is not None and len(made.keeper._expiry) == 1)
    yield made
    await made.owner.close()
    await made.keeper.close()


async def test_after_a_stall_renewals_that_were_waiting_come_first(alone) -> None:
    store, keeper = alone.store, alone.keeper
    renewed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"ready")
        await reader.readexactly(5)
        await keeper.renew(FIRST)
        renewed.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    assert await asyncio.to_thread(client.recv, 5) == b"ready"
    # The process stands still; its sessions run out, and a renewal comes meanwhile.
    client.sendall(b"renew")
    alone.later(11.0)
    await renewed.wait()
    for _ in range(50):
        await asyncio.sleep(0.002)
    assert store.proposed == [] and keeper.stats.renewals == 1
    alone.later(11.0)
    await alone.proposals(1)
    client.close()
    server.close()


async def test_a_refused_end_is_tried_again_and_can_still_be_renewed(alone) -> None:
    store, keeper = alone.store, alone.keeper
    alone.later(11.0)
    await alone.proposals(1)
    renewal = await alone.renewing()  # its end may happen any moment
    store.proposed[0](QueueFull("full"))
    assert await renewal is not None
    alone.later(11.0)
    await alone.proposals(2)
    assert keeper.stats.failures == 1


async def test_an_end_that_may_still_happen_is_no_renewal(alone) -> None:
    store, keeper = alone.store, alone.keeper
    alone.later(11.0)
    await alone.proposals(1)
    store.proposed[0](LeadershipLost("?"))
    renewal = await alone.renewing()
    await alone.proposals(2)
    assert not renewal.done()
    store.session = None
    store.proposed[1](Applied(9, True))
    assert await renewal is None
    assert (keeper.stats.expired, keeper.stats.renewals_too_late) == (1, 1)


async def test_who_waits_for_an_end_is_told_when_the_term_is_over(alone) -> None:
    store, keeper = alone.store, alone.keeper
    alone.later(11.0)
    await alone.proposals(1)
    renewal = await alone.renewing()
    alone.term.cancel()
    with pytest.raises(NoLeader):
        await renewal
    store.proposed[0](LeadershipLost("?"))  # comes late, and nobody minds
    with pytest.raises(NoLeader):
        keeper.clock(FIRST)


async def test_sessions_that_are_gone_are_dropped_from_memory(alone, monkeypatch) -> None:
    store, keeper = alone.store, alone.keeper
    monkeypatch.setattr(module, "GONE_SPARE", 0)
    store.session = None
    store.woken()
    await until(lambda: len(keeper._expiry) == 0)
    assert store.proposed == []
