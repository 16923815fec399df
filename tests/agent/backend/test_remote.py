"""An agent without a vote: every question through a server, whichever lives."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from unittest.mock import ANY

import pytest

from agent.backend import Ask, Consistency
from agent.backend.remote import RemoteBackend
from agent.backend.rpc.client import RpcLimits, RpcPool
from agent.backend.servers import ServerAddress, Servers
from agent.errors import ForwardError, NoServers
from raftstore.commands import Applied, KVSet, Transaction
from raftstore.errors import NotInHistory
from raftstore.queries import At, GetCAProvider, History, KVGet, KVList, Query
from raftstore.records import Actor, TxnKV, TxnOperation
from tests.agent.backend.servers import HOLD_S, Server, leader_of, three_servers, until


@pytest.fixture
async def servers() -> AsyncIterator[list[Server]]:
    made = await three_servers()
    yield made
    for server in made:
        await server.stop()


@pytest.fixture
async def client(servers: list[Server]) -> AsyncIterator[RemoteBackend]:
    known = Servers(random.Random(1))
    known.update(ServerAddress(s.name, s.name, *s.port.address) for s in servers)
    pool = RpcPool(datacenter="dc1", node="client", limits=RpcLimits())
    yield RemoteBackend(
        known, pool, sender="client", hold_s=HOLD_S, rng=random.Random(2), node="client"
    )
    await pool.close()


async def test_changes_and_questions_go_through_a_server(client: RemoteBackend) -> None:
    outcome = await client.change(KVSet(key="k", value=b"v"))
    assert isinstance(outcome, Applied)
    reply = await client.ask(KVGet("k"))
    assert reply.value is not None
    assert reply.index == outcome.index
    assert await client.leader()
    assert len(await client.peers()) == 3


async def test_the_past_is_told_through_a_server_or_definitely_refused(
    client: RemoteBackend,
) -> None:
    first = await client.change(KVSet(key="k", value=b"1"))
    await client.change(KVSet(key="k", value=b"2"), actor=Actor("t", "10.0.0.1:1", "n"))
    reply = await client.ask(KVGet("k"), Ask(at=At(index=first.index)))
    assert reply.value is not None
    assert (reply.value.value, reply.index) == (b"1", first.index)
    assert (await client.ask(KVGet("k"), Ask(at=At(stamp=0.0)))).value is None
    with pytest.raises(NotInHistory, match="not reached yet"):
        await client.ask(KVGet("k"), Ask(at=At(index=10**9)))
    told = await client.ask(History(table="kv"))
    assert [change.actor for change in told.value.changes] == [
        Actor(node="client"),
        Actor("t", "10.0.0.1:1", "n"),
    ]


async def test_a_long_answer_arrives_whole_and_one_over_the_limit_is_given_up(
    servers: list[Server], client: RemoteBackend
) -> None:
    value = b"v" * 50
    for start in range(0, 1000, 100):
        keys = (f"k{number:04}" for number in range(start, start + 100))
        sets = tuple(TxnOperation(kv=TxnKV(verb="set", key=key, value=value)) for key in keys)
        await client.change(Transaction(sets))
    reply = await client.ask(KVList("k"))
    assert [pair.key for pair in reply.value] == [f"k{number:04}" for number in range(1000)]
    for server in servers:
        server.service.answer_bytes_max = 50_000
    with pytest.raises(ForwardError, match="over the limit of 50000 bytes"):
        await client.ask(KVList("k"))
    assert (await client.ask(KVGet("k0001"))).value is not None


async def test_the_signing_key_never_leaves_the_servers(client: RemoteBackend) -> None:
    with pytest.raises(Exception, match="not answered over the network"):
        await client.ask(GetCAProvider())


async def test_a_blocked_query_survives_the_death_of_its_server(
    client: RemoteBackend, servers: list[Server]
) -> None:
    first = await client.change(KVSet(key="k"))
    loop = asyncio.get_running_loop()
    waiting = loop.create_task(client.ask(KVGet("k"), Ask(min_index=first.index, wait_s=30)))
    asked = client._servers.preferred()
    assert asked is not None
    server = next(s for s in servers if s.name == asked.name)
    async with asyncio.timeout(5):
        while not server.port.stats.requests["ask"]:
            await asyncio.sleep(0.005)
    await server.stop()
    servers.remove(server)
    last = await client.change(KVSet(key="k", value=b"new"))
    async with asyncio.timeout(10):
        reply = await waiting
    assert reply.index == last.index


def begin_ask(client: RemoteBackend, query: Query[Any], options: Ask) -> list[Any]:
    """What a question by callback is told."""
    told: list[Any] = []
    assert client.ask_soon(query, options, told.append)
    return told


async def test_a_question_by_callback_is_answered_as_one_that_is_awaited(
    client: RemoteBackend, servers: list[Server]
) -> None:
    first = await client.change(KVSet(key="k", value=b"1"))
    await client.change(KVSet(key="k", value=b"2"))
    past, ahead = Ask(at=At(index=first.index)), Ask(at=At(index=10**9))
    asked: list[tuple[Query[Any], Ask]] = [
        (KVGet("k"), Ask()),
        (KVGet("k"), Ask(consistency=Consistency.CONSISTENT)),
        (KVGet("none"), Ask(consistency=Consistency.STALE)),
        (KVGet("k"), Ask(consistency=Consistency.STALE, max_stale_s=60.0)),
        (KVGet("k"), past),
    ]
    for query, options in asked:
        told = begin_ask(client, query, options)
        await until(lambda told=told: bool(told))  # type: ignore[misc]
        stale = options.consistency is Consistency.STALE
        age_s = ANY if stale or options.at else 0.0  # what a quorum has confirmed is as of now
        assert told == [replace(await client.ask(query, options), last_contact_s=age_s)]
    told = begin_ask(client, KVGet("k"), ahead)
    await until(lambda: bool(told))
    assert isinstance(told[0], NotInHistory)
    assert not client.ask_soon(KVGet("k"), Ask(min_index=1), told.append)
    assert not any(len(server.port.owner) for server in servers)


async def test_a_long_answer_by_callback_arrives_whole(client: RemoteBackend) -> None:
    keys = [f"k{number:03}" for number in range(60)]
    sets = tuple(TxnOperation(kv=TxnKV(verb="set", key=k, value=b"v" * 500)) for k in keys)
    await client.change(Transaction(sets))
    told = begin_ask(client, KVList("k"), Ask())
    await until(lambda: bool(told))
    assert [pair.key for pair in told[0].value] == keys


async def test_a_question_by_callback_survives_the_death_of_its_server(
    client: RemoteBackend, servers: list[Server]
) -> None:
    await client.change(KVSet(key="k", value=b"v"))
    asked = client._servers.preferred()
    assert asked is not None
    server = next(s for s in servers if s.name == asked.name)
    told = begin_ask(client, KVGet("k"), Ask())
    await server.stop()
    servers.remove(server)
    await until(lambda: bool(told))
    assert told[0].value.value == b"v"


async def test_writes_go_on_through_the_death_of_the_leader(
    client: RemoteBackend, servers: list[Server]
) -> None:
    dead = leader_of(servers)
    loop = asyncio.get_running_loop()
    writes = [
        loop.create_task(client.change(KVSet(key=f"k{i}", value=b"v"), timeout_s=20))
        for i in range(100)
    ]
    await asyncio.sleep(0)
    await dead.stop()
    servers.remove(dead)
    async with asyncio.timeout(25):
        outcomes = await asyncio.gather(*writes)
    assert all(isinstance(outcome, Applied) for outcome in outcomes)
    for i in range(100):
        assert (await client.ask(KVGet(f"k{i}"))).value is not None


async def test_an_agent_that_knows_no_server_says_so_at_once() -> None:
    pool = RpcPool(datacenter="dc1", node="client", limits=RpcLimits())
    alone = RemoteBackend(
        Servers(random.Random(1)), pool, sender="x", hold_s=HOLD_S, rng=random.Random(1)
    )
    with pytest.raises(NoServers):
        await alone.ask(KVGet("k"))
    assert alone.peek(KVGet("k")) is None
    assert alone.watch_once(KVGet("k"), lambda: None) is None
    await pool.close()


def begin_changes(client: RemoteBackend, count: int) -> dict[str, list[object]]:
    told: dict[str, list[object]] = {f"k{i}": [] for i in range(count)}
    for key, results in told.items():
        client.change_soon(KVSet(key=key, value=b"v"), results.append)
    return told


async def test_changes_by_callback_go_through_a_server_without_a_task(
    client: RemoteBackend, servers: list[Server]
) -> None:
    await client.change(KVSet(key="first"))
    told = begin_changes(client, 50)
    assert len(client._owner) == 0
    await until(lambda: all(told.values()))
    assert all(isinstance(result, Applied) for [result] in told.values())
    for key in told:
        assert (await client.ask(KVGet(key))).value is not None


async def test_changes_by_callback_outlive_the_death_of_the_leader(
    client: RemoteBackend, servers: list[Server]
) -> None:
    await client.change(KVSet(key="first"))
    dead = leader_of(servers)
    told = begin_changes(client, 50)
    await asyncio.sleep(0)
    await dead.stop()
    servers.remove(dead)
    await until(lambda: all(told.values()), 25)
    assert all(isinstance(result, Applied) for [result] in told.values())


async def test_a_change_by_callback_is_told_when_the_agent_stops() -> None:
    pool = RpcPool(datacenter="dc1", node="client", limits=RpcLimits())
    alone = RemoteBackend(
        Servers(random.Random(1)), pool, sender="x", hold_s=HOLD_S, rng=random.Random(1)
    )
    told = begin_changes(alone, 1)["k0"]
    await alone.close()
    await asyncio.sleep(0)
    alone.change_soon(KVSet(key="k"), told.append)
    assert len(told) == 2
    assert all(isinstance(result, NoServers | ForwardError) for result in told)
    await pool.close()
