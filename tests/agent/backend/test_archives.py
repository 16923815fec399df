"""Saving and restoring on real servers in this process, and from an agent without a vote."""

from __future__ import annotations

import asyncio
import random

import pytest

from agent.backend import Ask
from agent.backend.archive_transfers import KEPT_MAX, RemoteArchives
from agent.backend.remote import RemoteBackend
from agent.backend.rpc import calls
from agent.backend.rpc.client import RpcLimits, RpcPool
from agent.backend.servers import ServerAddress, Servers
from agent.errors import ForwardError, RequestError
from agent.local.restores import follow_restores
from raftstore.archive import ArchiveReader
from raftstore.commands import BeginRestore, EndRestore, KVSet
from raftstore.queries import KVGet
from raftstore.records import Actor
from raftstore.restore_queries import GetRestore
from tests.agent.backend.servers import (
    ARCHIVES,
    Server,
    followers_of,
    leader_of,
    three_servers,
    until,
)

ACTOR = Actor(node="tester")


class Cluster:
    """Three servers that keep archives, and an agent that asks them."""

    def __init__(self, servers: list[Server]) -> None:
        self.servers = servers
        self.pool = RpcPool(datacenter="dc1", node="client", limits=RpcLimits())
        known = self.known = Servers(random.Random(1))
        known.update(
            ServerAddress(s.name, s.name, s.port.address[0], s.port.address[1]) for s in servers
        )
        self.remote = RemoteArchives(known, self.pool, ARCHIVES)

    async def stop(self) -> None:
        await self.pool.close()
        for server in self.servers:
            await server.stop()


@pytest.fixture
async def cluster():
    made = Cluster(await three_servers())
    try:
        yield made
    finally:
        await made.stop()


async def pieces(data: bytes):
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


async def value(server: Server, key: str = "k") -> bytes | None:
    found = (await server.backend.ask(KVGet(key))).value
    return None if found is None else found.value


async def saved_by(archives, *, stale: bool = False) -> bytes:
    saved = await archives.save(stale=stale)
    with saved.file as file:
        data = file.read()
    assert len(data) == saved.size
    return data


async def test_what_a_follower_saves_has_all_that_was_acknowledged_before(cluster):
    leader, follower = leader_of(cluster.servers), followers_of(cluster.servers)[0]
    outcome = await leader.backend.change(KVSet(key="k", value=b"1"))
    saved = await follower.archives.save(stale=False)
    with saved.file as file:
        assert ArchiveReader(file).meta.index == saved.index >= outcome.index
    assert saved.known_leader


async def test_a_restore_is_in_force_everywhere_and_wakes_who_waits(cluster):
    leader, follower = leader_of(cluster.servers), followers_of(cluster.servers)[0]
    await leader.backend.change(KVSet(key="k", value=b"1"))
    data = await saved_by(leader.archives)
    await leader.backend.change(KVSet(key="k", value=b"2"))
    before = await follower.backend.ask(KVGet("k"))
    waiting = asyncio.get_running_loop().create_task(
        follower.backend.ask(KVGet("k"), Ask(min_index=before.index, wait_s=30.0))
    )
    replaced: list[str] = []
    follower.store.on_replaced.append(lambda: replaced.append("replaced"))
    await follower.archives.restore(pieces(data), ACTOR)
    assert await value(follower) == b"1"
    woken = await asyncio.wait_for(waiting, 10)
    assert woken.value.value == b"1" and woken.index > before.index
    assert replaced == ["replaced"]
    for server in cluster.servers:
        assert await value(server) == b"1"
        assert server.store.state.staged is None
    assert follower.archives.stats.restores == 1


async def test_an_agent_without_a_vote_is_told_of_each_restore(cluster):
    leader = leader_of(cluster.servers)
    await leader.backend.change(KVSet(key="k", value=b"1"))
    data = await saved_by(leader.archives)
    remote = RemoteBackend(
        cluster.known, cluster.pool, sender="client", hold_s=7.0, rng=random.Random(1)
    )
    told: list[int] = []
    following = asyncio.get_running_loop().create_task(
        follow_restores(remote, lambda: told.append(len(told)), rng=random.Random(1), retry_s=0.05)
    )
    waiting = lambda: sum(server.store.metrics()["watches_open"] for server in cluster.servers)  # noqa: E731
    await until(lambda: waiting() == 1)
    assert not told, "one that was before the agent came is not told"
    for count in (1, 2):
        await leader.archives.restore(pieces(data), ACTOR)
        await until(lambda count=count: len(told) == count)
        await leader.backend.change(KVSet(key="k", value=b"2"))
        await until(lambda: waiting() == 1)
    await cluster.pool.close()
    await asyncio.sleep(0)
    assert not following.done(), "a lost server is no reason to end"
    following.cancel()
    await remote.close()


async def test_an_agent_without_a_vote_has_a_server_do_it(cluster):
    leader = leader_of(cluster.servers)
    await leader.backend.change(KVSet(key="k", value=random.Random(1).randbytes(500_000)))
    large = await value(leader)
    await leader.backend.change(KVSet(key="l", value=random.Random(2).randbytes(500_000)))
    data = await saved_by(cluster.remote)
    assert len(data) > 900_000, "more than one piece"
    await leader.backend.change(KVSet(key="k", value=b"2"))
    await cluster.remote.restore(pieces(data), ACTOR)
    assert await value(leader) == large
    assert all(not server.transfers._kept for server in cluster.servers)
    with pytest.raises(RequestError, match="unexpected EOF"):
        await cluster.remote.restore(pieces(data[:5000]), ACTOR)
    assert await value(leader) == large


async def test_an_archive_over_the_limit_is_refused_before_it_is_all_here(cluster):
    taken = 0

    async def endless():
        nonlocal taken
        while True:
            taken += 1
            yield bytes(1_000_000)

    for archives in (cluster.servers[0].archives, cluster.remote):
        taken = 0
        with pytest.raises(RequestError, match="over the limit of 10000000 bytes") as refused:
            await archives.restore(endless(), ACTOR)
        assert refused.value.status == 413
        assert taken == 11


async def test_a_restore_that_is_broken_off_changes_nothing_and_is_forgotten(cluster):
    leader = leader_of(cluster.servers)
    for number in range(10):
        await leader.backend.change(KVSet(key=f"k{number}", value=random.randbytes(100_000)))
    data = await saved_by(leader.archives)
    await leader.backend.change(KVSet(key="k", value=b"2"))
    restoring = asyncio.get_running_loop().create_task(leader.archives.restore(pieces(data), ACTOR))
    await until(lambda: leader.store.state.staged is not None)
    assert (await leader.backend.ask(GetRestore())).value.staged is not None
    restoring.cancel()
    await asyncio.wait([restoring])
    await until(lambda: all(s.store.state.staged is None for s in cluster.servers))
    assert await value(leader) == b"2"
    assert leader.archives.stats.restore_failures == 1


async def test_a_restore_waits_for_another_one_to_end(cluster):
    leader = leader_of(cluster.servers)
    await leader.backend.change(KVSet(key="k", value=b"1"))
    data = await saved_by(leader.archives)
    await leader.backend.change(BeginRestore(id="other", saved_index=1))
    restoring = asyncio.get_running_loop().create_task(leader.archives.restore(pieces(data), ACTOR))
    await until(lambda: leader.archives.stats.under_way_current == 1)
    await leader.backend.change(EndRestore(id="other", abandon=True))
    await asyncio.wait_for(restoring, 20)
    assert await value(leader) == b"1"


async def test_without_a_quorum_nothing_is_restored_and_the_error_says_so(cluster, monkeypatch):
    monkeypatch.setattr("agent.backend.archives.COMMAND_MAX_S", 0.5)
    leader = leader_of(cluster.servers)
    await leader.backend.change(KVSet(key="k", value=b"1"))
    data = await saved_by(leader.archives)
    for follower in followers_of(cluster.servers):
        await follower.stop()
    with pytest.raises(RequestError, match="nothing was changed"):
        await leader.archives.restore(pieces(data), ACTOR)
    saved = await leader.archives.save(stale=True)
    with saved.file as file:
        assert file.read() != b""


async def test_transfers_are_bounded_and_refuse_what_is_out_of_order(cluster):
    server = cluster.servers[0]
    address = server.port.address

    async def call(method: str, *arguments: object) -> bytes:
        payload = calls.pack(*arguments)
        return await cluster.pool.call(address, method, payload, timeout_s=5)

    (transfer, *_) = calls.unpack(await call("archive-begin"), str)
    await call("archive-write", transfer, 0, b"abc")
    for wrong in (("archive-write", transfer, 7, b"x"), ("archive-restore", transfer, 99, b"\x90")):
        with pytest.raises(ForwardError):
            await call(*wrong)
    for _ in range(KEPT_MAX - 1):
        await call("archive-begin")
    with pytest.raises(ForwardError, match="too many snapshots"):
        await call("archive-begin")
    await call("archive-close", transfer)
    await call("archive-begin")
    with pytest.raises(ForwardError, match="not known here"):
        await call("archive-read", transfer, 0)
