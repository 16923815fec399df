"""A server's backend over real Raft: forwarding, linearizable reads, elections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NoReturn

import pytest

from agent.backend import Ask, Consistency
from agent.backend.operations import AUTOPILOT_STATE
from agent.errors import ForwardError, NoClusterLeader
from raftstore.commands import Applied, KVDelete, KVSet, Register, Rejected
from raftstore.errors import EncodeError
from raftstore.queries import KVGet, ListNodes
from raftstore.records import Check, CheckId, Node, NodeName, ServiceId
from tests.agent.backend.servers import Server, followers_of, leader_of, three_servers, until


@pytest.fixture
async def servers() -> AsyncIterator[list[Server]]:
    made = await three_servers()
    yield made
    for server in made:
        await server.stop()


async def test_a_change_at_any_server_is_read_at_every_other_at_once(
    servers: list[Server],
) -> None:
    for number, writer in enumerate(servers * 3):
        outcome = await writer.backend.change(KVSet(key="k", value=b"%d" % number))
        assert isinstance(outcome, Applied)
        for reader in servers:
            reply = await reader.backend.ask(KVGet("k"))
            assert reply.value is not None
            assert reply.value.value == b"%d" % number
            assert reply.index == outcome.index
            assert reply.known_leader


async def test_many_changes_and_reads_at_once_through_a_follower(servers: list[Server]) -> None:
    follower = followers_of(servers)[0]

    async def one(number: int) -> None:
        key = f"k{number}"
        await follower.backend.change(KVSet(key=key, value=b"v"))
        reply = await follower.backend.ask(KVGet(key), Ask(consistency=Consistency.CONSISTENT))
        assert reply.value is not None

    await asyncio.gather(*(one(number) for number in range(200)))


async def test_a_rejection_is_an_answer_through_the_forward_too(servers: list[Server]) -> None:
    check = Check(node=NodeName("n"), id=CheckId("c"), name="c", service_id=ServiceId("absent"))
    command = Register(node=Node(name=NodeName("n"), address="1.2.3.4"), checks=(check,))
    outcomes = [await server.backend.change(command) for server in servers]
    assert all(isinstance(outcome, Rejected) for outcome in outcomes)
    nodes = await servers[0].backend.ask(ListNodes())
    assert nodes.value == ()


async def test_a_blocked_query_on_a_follower_wakes_on_its_own_change(
    servers: list[Server],
) -> None:
    follower = followers_of(servers)[0].backend
    first = await follower.change(KVSet(key="watched"))
    waiting = asyncio.get_running_loop().create_task(
        follower.ask(KVGet("watched"), Ask(min_index=first.index, wait_s=10))
    )
    await follower.change(KVSet(key="other"))
    assert not waiting.done()
    last = await leader_of(servers).backend.change(KVSet(key="watched", value=b"new"))
    reply = await waiting
    assert reply.index == last.index


async def test_writes_go_on_when_the_leader_is_gone(servers: list[Server]) -> None:
    survivor = followers_of(servers)[0]
    await survivor.backend.change(KVSet(key="before"))
    dead = leader_of(servers)
    await dead.stop()
    servers.remove(dead)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert isinstance(await survivor.backend.change(KVSet(key="after")), Applied)
    assert loop.time() - began < 3
    assert (await survivor.backend.ask(KVGet("before"))).value is not None


async def test_without_a_quorum_requests_are_held_and_then_refused(
    servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, *others = followers_of(servers)
    for server in [*others, leader_of(servers)]:
        await server.stop()
        servers.remove(server)
    monkeypatch.setattr(alone.backend, "_hold_s", 1.0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(NoClusterLeader):
        await alone.backend.ask(KVGet("k"))
    assert 0.5 < loop.time() - began < 3
    reply = await alone.backend.ask(KVGet("k"), Ask(consistency=Consistency.STALE))
    assert reply.value is None
    await until(lambda: not alone.store.status().leader_id)
    reply = await alone.backend.ask(KVGet("k"), Ask(consistency=Consistency.STALE))
    assert not reply.known_leader


async def test_only_the_leader_signs(servers: list[Server]) -> None:
    name = leader_of(servers).name
    for server in servers:
        leaf = await server.backend.sign_leaf("csr")
        assert leaf.cert_pem == f"{name} signed csr"


async def test_what_no_log_can_carry_is_told_at_once(
    servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0

    async def too_large(*_: object) -> NoReturn:
        nonlocal tried
        tried += 1
        raise EncodeError("command is over the limit")

    lead, follower = leader_of(servers), followers_of(servers)[0]
    monkeypatch.setattr(lead.backend, "_signer", too_large)
    lead.backend.leader_methods = {AUTOPILOT_STATE: too_large}
    lead.service._methods[AUTOPILOT_STATE] = lead.service._to_leader(AUTOPILOT_STATE)
    for backend in (lead.backend, follower.backend):
        for ask in (backend.sign_leaf("csr"), backend.on_leader(AUTOPILOT_STATE, b"")):
            with pytest.raises((EncodeError, ForwardError), match="over the limit"):
                await ask
    assert tried == 4  # once each, and not again until the time is up


async def test_everybody_knows_the_leader_and_the_servers(servers: list[Server]) -> None:
    lead = leader_of(servers)
    for server in servers:
        assert await server.backend.leader() == lead.address
        assert set(await server.backend.peers()) == {s.address for s in servers}
        assert [
            s.node_id for s in (await server.backend.raft_configuration()).servers if s.leader
        ] == [lead.name]


async def test_a_watch_is_a_promise_and_a_peek_is_at_hand(servers: list[Server]) -> None:
    backend = leader_of(servers).backend
    await backend.change(KVSet(key="k", value=b"1"))
    seen: list[str] = []
    assert backend.watch_once(KVGet("k"), lambda: seen.append("moved")) is not None
    await backend.ask(KVGet("k"))
    peeked = backend.peek(KVGet("k"))
    assert peeked is not None
    assert peeked.value is not None
    await backend.change(KVDelete(key="k"))
    await until(lambda: seen == ["moved"])


async def test_a_server_gives_out_nothing_before_it_has_caught_up_with_the_others(
    servers: list[Server],
) -> None:
    """What it holds at its start may be as old as its last run: a bounded age counts from there."""
    lead = leader_of(servers).backend
    await lead.change(KVSet(key="k", value=b"1"))
    stale = Ask(consistency=Consistency.STALE, max_stale_s=1e9)
    follower = followers_of(servers)[0]
    await until(lambda: follower.store.age_s < 1.0)
    assert follower.backend.peek(KVGet("k")) is None
    reply = await follower.backend.ask(KVGet("k"), stale)
    assert reply.value is not None
    assert reply.consistency is Consistency.DEFAULT, "it has asked the leader"
    assert follower.backend.peek(KVGet("k")) is not None
    for server in servers:
        if server is not follower:
            await server.stop()
    again = await follower.backend.ask(KVGet("k"), stale)
    assert again.consistency is Consistency.STALE, "from here on it answers through elections"


async def test_changes_by_callback_through_a_follower_outlive_the_leader(
    servers: list[Server],
) -> None:
    follower, dead = followers_of(servers)[0], leader_of(servers)
    await follower.backend.change(KVSet(key="first"))
    told: dict[str, list[object]] = {f"k{i}": [] for i in range(50)}
    for key, results in list(told.items())[:25]:
        follower.backend.change_soon(KVSet(key=key, value=b"v"), results.append)
    assert len(follower.backend._owner) == 0
    await until(lambda: all(told[f"k{i}"] for i in range(25)))
    for key, results in list(told.items())[25:]:
        follower.backend.change_soon(KVSet(key=key, value=b"v"), results.append)
    await asyncio.sleep(0)
    await dead.stop()
    servers.remove(dead)
    await until(lambda: all(told.values()), 25)
    assert all(isinstance(result, Applied) for [result] in told.values())
    for key in told:
        assert (await follower.backend.ask(KVGet(key))).value is not None
