"""Kept answers follow the servers' state, and outlive the servers with their age."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from agent.backend import Ask, Reply
from agent.backend import cache as module
from agent.backend.cache import AnswerCache, Freshness
from agent.backend.remote import RemoteBackend
from agent.backend.rpc.client import RpcLimits, RpcPool
from agent.backend.servers import ServerAddress, Servers
from agent.errors import ForwardError
from raftstore.commands import KVSet
from raftstore.queries import KVGet, KVList
from tests.agent.backend.servers import Server, three_servers, until

HOLD_S = 0.5


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
    backend = RemoteBackend(
        known, pool, sender="client", hold_s=HOLD_S, rng=random.Random(2), node="client"
    )
    yield backend
    await backend.close()
    await pool.close()


def make_cache(client: RemoteBackend, answers_max: int = 3) -> AnswerCache:
    return AnswerCache(client, answers_max=answers_max, away_s=client.away_s, rng=random.Random(3))


@pytest.fixture
async def cache(client: RemoteBackend) -> AsyncIterator[AnswerCache]:
    made = make_cache(client)
    yield made
    await made.close()


async def value(cache: AnswerCache, key: str, **freshness: float) -> tuple[bytes, bool]:
    found = await cache.get(KVGet(key), Ask(), Freshness(**freshness))
    return (found.reply.value.value if found.reply.value else b"", found.hit)


async def test_the_second_reader_is_served_from_here(client, cache) -> None:
    await client.change(KVSet(key="k", value=b"1"))
    assert await value(cache, "k") == (b"1", False)
    found = await cache.get(KVGet("k"), Ask())
    assert (found.reply.value.value, found.hit, found.age_s) == (b"1", True, 0.0)
    assert (cache.stats().hits, cache.stats().misses, cache.stats().answers_current) == (1, 1, 1)


async def test_a_change_arrives_by_itself(client, cache) -> None:
    assert await value(cache, "k") == (b"", False)
    await client.change(KVSet(key="k", value=b"new"))

    async def seen() -> bool:
        return await value(cache, "k") == (b"new", True)

    async with asyncio.timeout(10):
        while not await seen():
            await asyncio.sleep(0.005)
    assert cache.stats().misses == 1


async def test_a_thousand_readers_ask_once(cache) -> None:
    found = await asyncio.gather(*(cache.get(KVGet("k"), Ask()) for _ in range(1000)))
    assert cache.stats().misses == 1 and len({f.reply.index for f in found}) == 1


async def test_a_reader_is_woken_by_a_newer_answer_or_gets_the_old_one_in_time(
    client, cache
) -> None:
    await client.change(KVSet(key="k", value=b"1"))
    first = await cache.get(KVGet("k"), Ask())
    held = asyncio.ensure_future(  # noqa: TID251
        cache.get(KVGet("k"), Ask(min_index=first.reply.index, wait_s=10.0))
    )
    await asyncio.sleep(0)
    changed = await client.change(KVSet(key="k", value=b"2"))
    found = await held
    assert (found.reply.value.value, found.reply.index) == (b"2", changed.index)
    again = await cache.get(KVGet("k"), Ask(min_index=changed.index, wait_s=0.05))
    assert again.reply.index == changed.index


async def test_who_accepts_no_age_gets_a_fresh_answer(client, cache) -> None:
    await client.change(KVSet(key="k", value=b"1"))
    await value(cache, "k")
    assert await value(cache, "k", max_age_s=0.0) == (b"1", False)
    assert await value(cache, "k", max_age_s=60.0) == (b"1", True)


async def test_the_longest_unused_makes_room(cache) -> None:
    for key in "abc":
        await value(cache, key)
    await value(cache, "a")
    await value(cache, "d")
    assert [await value(cache, key) for key in "acd"] == [(b"", True)] * 3
    assert await value(cache, "b") == (b"", False)


async def test_long_answers_make_room_sooner(client, cache, monkeypatch) -> None:
    monkeypatch.setattr(module, "ROWS_MAX", 12)
    for number in range(8):
        await client.change(KVSet(key=f"long/{number}", value=b"v"))
    await value(cache, "a")
    await value(cache, "b")
    await cache.get(KVList("long/"), Ask())
    assert cache.stats().answers_current == 3 and cache._rows == 11
    for number in range(8, 16):
        await client.change(KVSet(key=f"long/{number}", value=b"v"))
    await until(lambda: cache._rows == 17)  # it grew: the others went, and it stays
    assert cache.stats().answers_current == 1
    cache.drop()
    assert cache._rows == 0


async def test_what_nobody_asks_for_is_forgotten(client, cache, monkeypatch) -> None:
    monkeypatch.setattr(module, "IDLE_MAX_S", 0.0)
    await value(cache, "k")
    await until(lambda: cache.stats().answers_current == 0)


async def test_another_state_is_read_anew(client, cache) -> None:
    await value(cache, "k")
    cache.drop()
    assert await value(cache, "k") == (b"", False)


async def test_without_servers_the_last_answer_is_given_with_its_age(
    client, cache, servers, monkeypatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_MAX_S", 0.05)
    await client.change(KVSet(key="k", value=b"1"))
    await value(cache, "k")
    for server in servers:
        await server.stop()
    await until(lambda: client.away_s() > 0.1)
    found = await cache.get(KVGet("k"), Ask())
    assert (found.reply.value.value, found.hit) == (b"1", True)
    assert 0.1 <= found.age_s < 30.0
    with pytest.raises(ForwardError):
        await value(cache, "k", max_age_s=0.0)
    assert await value(cache, "k", max_age_s=0.0, stale_if_error_s=60.0) == (b"1", True)
    with pytest.raises(ForwardError):
        await value(cache, "unknown")


async def test_what_keeps_changing_is_fetched_as_often_as_is_allowed() -> None:
    asked = 0
    slow = asyncio.Event()

    class Busy:
        """Has something newer whenever it is asked."""

        async def ask(self, query, options=None):
            nonlocal asked
            asked += 1
            if asked == 40:
                slow.set()
            await asyncio.sleep(0)
            return Reply(value=asked, index=asked)

    for rate, most in ((0.0, None), (0.001, 4)):
        asked = 0
        slow.clear()
        kept = AnswerCache(
            Busy(),  # type: ignore[arg-type]
            answers_max=4,
            away_s=lambda: 0.0,
            rng=random.Random(1),
            fetch_rate=rate,
            fetch_burst=2,
        )
        try:
            await kept.get(KVGet("a"), Ask())
            if most is None:
                await asyncio.wait_for(slow.wait(), 20)
            else:
                for _ in range(200):
                    await asyncio.sleep(0)
                assert asked <= most
        finally:
            await kept.close()
