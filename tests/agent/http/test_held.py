"""Blocking queries that wait without a task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.http.held import taken_apart, without_wait
from agent.http.lane import Head, Seen
from agent.http.params import parse_query, wait
from agent.http.reply import Reply
from raftstore.errors import NoLeader, QueueFull
from tests.agent.http.acl_rig import managed
from tests.agent.http.rig import Client, Rig, make_config, small_limits
from tests.agent.http.test_server import until

WEB = "/v1/health/service/web"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    running = await Rig(make_config(limits=small_limits(blocking_queries_max=50))).start()
    try:
        yield running
    finally:
        await running.stop()


async def held(client: Client, rig: Rig, target: str, number: int = 1) -> None:
    """Ask, and wait until so many are held without a task."""
    await client.send("GET", target)
    await until(lambda: len(rig.server._waiting._held) == number)


async def known(client: Client) -> None:
    """Have the server learn this client's header lines: what it has not read goes the long way."""
    await client.get("/v1/status/leader")


# -- taking a target apart


@given(
    st.lists(
        st.sampled_from(
            ["index=5", "index=0", "index=", "index=x", "index=-1", "index=9999999999999999999999",
             "wait=10s", "wait=", "wait=5", "wait=1h", "wait=250ms", "wait=1h2m", "passing",
             "Index=4", "tag=a", "tag=index", "x=index=3", "stale", "", "%69ndex=7"]
        ),
        max_size=6,
    )
)  # fmt: skip
def test_what_is_taken_apart_means_the_same(parts: list[str]) -> None:
    query = "&".join(parts)
    asked = taken_apart(f"{WEB}?{query}".encode())
    if asked is None:
        return
    path, _, rest = asked.target.decode().partition("?")
    whole, base = parse_query(query), parse_query(rest)
    index, wait_s = wait(whole, default_s=300.0, max_s=600.0)
    assert path == WEB and asked.min_index == index > 0
    alone = parse_query(f"wait={asked.wait}")
    assert wait(alone, default_s=300.0, max_s=600.0) == (0, wait_s)
    names = set(whole.first()) - {"index", "wait"}
    assert set(base.first()) == names
    assert all(base.all(name) == whole.all(name) for name in names)


@pytest.mark.parametrize(
    "query", ["", "?", "?passing", "?index=0", "?index=x", "?index=1&index=2", "?index=1&wait=x"]
)
def test_the_rest_is_left_alone(query: str) -> None:
    assert taken_apart(f"{WEB}{query}".encode()) is None


def test_the_same_request_without_its_wait() -> None:
    data = b"GET /v1/kv/a?index=3 HTTP/1.1\r\nHost: x\r\n\r\n"
    seen = Seen("GET", b"/v1/kv/a?index=3", Head({}, 0), b"", data)
    assert without_wait(seen, b"/v1/kv/a").data == data.replace(b"?index=3", b"")


# -- waiting


async def test_all_who_ask_the_same_get_one_answer(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(Reply, "opening", _counting(Reply.opening, made))
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(rig.port)) for _ in range(20)]
        await known(clients[0])
        index = (await clients[0].get(WEB)).index
        for number, client in enumerate(clients, 1):
            await held(client, rig, f"{WEB}?index={index}&wait={20 + number % 3}s", number)
        assert len(rig.server._waiting) == 20 and rig.server.stats().blocking_queries_held == 20
        made.clear()
        async with Client(rig.port) as writer:
            await writer.put("/v1/kv/other", "x")
            assert len(rig.server._waiting) == 20
            await register(writer)
        answers = [await client.receive() for client in clients]
        assert {answer.index for answer in answers} == {answers[0].index}
        assert answers[0].index > index
        assert all(len(answer.json) == 1 for answer in answers)
    assert len(made) < 6, "each answer is made once, not for each who asks"
    assert len(rig.server._waiting) == 0 and rig.watches == 0


def _counting(original, into):  # type: ignore[no-untyped-def]
    def counted(self):  # type: ignore[no-untyped-def]
        into.append(self)
        return original(self)

    return counted


async def register(client: Client, port: int = 80) -> None:
    service = {"Service": "web", "Port": port}
    body = {"Node": "n2", "Address": "10.0.0.2", "Service": service}
    assert (await client.put("/v1/catalog/register", body)).status == 200


async def test_the_wait_ends_with_what_is_there(rig: Rig) -> None:
    async with Client(rig.port) as client:
        await client.put("/v1/kv/a", "x")
        first = await client.get("/v1/kv/a")
        for mode in ("", "&stale", "&consistent"):
            again = await client.get(f"/v1/kv/a?index={first.index}&wait=20ms{mode}")
            assert (again.status, again.index, again.body) == (200, first.index, first.body)
        ahead = await client.get(f"/v1/kv/a?index={first.index + 1000}&wait=20ms")
        assert (ahead.index, ahead.body) == (first.index, first.body)
    assert rig.watches == 0


async def test_what_has_changed_already_is_told_at_once(rig: Rig) -> None:
    async with Client(rig.port) as client:
        await known(client)
        await client.put("/v1/kv/a", "x")
        assert (await client.get("/v1/kv/a?index=1&wait=10m")).status == 200
        assert (await client.get("/v1/kv/none?index=1&wait=10m&stale")).status == 404


async def test_what_does_not_block_answers_at_once(rig: Rig) -> None:
    async with Client(rig.port) as client:
        for _ in range(2):
            assert (await client.get("/v1/status/leader?index=1&wait=10m")).status == 200
            assert (await client.get("/v1/catalog/datacenters?index=99999")).status == 200
    assert rig.watches == 0


async def test_a_client_that_goes_away_waits_no_longer(rig: Rig) -> None:
    async with Client(rig.port) as client:
        await client.put("/v1/kv/a", "x")
        index = (await client.get("/v1/kv/a")).index
        await held(client, rig, f"/v1/kv/a?index={index}")
        assert rig.watches == 1
    await until(lambda: rig.watches == 0 and len(rig.server._waiting) == 0)
    async with Client(rig.port) as client:
        before = rig.server.stats().requests
        await client.put("/v1/kv/a", "y")
        assert rig.server.stats().requests == before + 1


async def test_one_too_many_is_refused_the_long_way(rig: Rig) -> None:
    rig.server._waiting.places_max = 1
    async with Client(rig.port) as first, Client(rig.port) as second:
        await first.put("/v1/kv/a", "x")
        index = (await first.get("/v1/kv/a")).index
        await held(first, rig, f"/v1/kv/a?index={index}")
        refused = await second.get(f"/v1/kv/a?index={index}")
        assert refused.status == 429 and rig.server.stats().blocking_queries_refused == 1
        await second.put("/v1/kv/a", "y")
        assert (await first.receive()).status == 200


async def test_the_stop_answers_those_held() -> None:
    rig = await Rig(make_config()).start()
    async with Client(rig.port) as client:
        await client.put("/v1/kv/a", "x")
        index = (await client.get("/v1/kv/a")).index
        await held(client, rig, f"/v1/kv/a?index={index}")
        stopping = asyncio.get_running_loop().create_task(rig.stop())
        got = await client.receive()
        assert (got.status, got.text) == (500, "Agent is shutting down")
        await stopping


async def test_failures_have_their_status(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Client(rig.port) as client:
        await client.put("/v1/kv/a", "x")
        index = (await client.get("/v1/kv/a")).index
        rig.backend.failure = NoLeader()
        got = await client.get(f"/v1/kv/a?index={index}")
        assert (got.status, got.text) == (500, "No cluster leader")
        rig.backend.failure = None

        def full(*_: object) -> None:
            raise QueueFull("too many queries are waiting (limit 1)")

        monkeypatch.setattr(rig.backend, "watch_patiently", full)
        assert (await client.get(f"/v1/kv/a?index={index}")).status == 429
    assert len(rig.server._waiting) == 0 and rig.server.stats().internal_errors == 0


async def test_an_answer_that_grew_large_goes_the_long_way_without_waiting_again(rig: Rig) -> None:
    async with Client(rig.port) as client, Client(rig.port) as writer:
        await client.put("/v1/kv/a", "x")
        for body, wait_ in ((b"y" * 400_000, "10m"), (None, "50ms")):
            index = (await client.get("/v1/kv/a?raw")).index
            await held(client, rig, f"/v1/kv/a?raw&index={index}&wait={wait_}")
            if body is not None:
                assert (await writer.ask("PUT", "/v1/kv/a", body)).status == 200
            assert len((await client.receive()).body) == 400_000
        assert (await client.get("/v1/kv/none")).status == 404


async def test_what_is_sent_behind_a_held_request_waits_for_it(rig: Rig) -> None:
    async with Client(rig.port) as client, Client(rig.port) as writer:
        await client.put("/v1/kv/a", "x")
        index = (await client.get("/v1/kv/a")).index
        await held(client, rig, f"/v1/kv/a?index={index}")
        await client.send("GET", "/v1/kv/none")
        await writer.put("/v1/kv/a", "y")
        assert [(await client.receive()).status for _ in range(2)] == [200, 404]


async def test_a_held_connection_is_not_idle(rig: Rig) -> None:
    connections = rig.server._connections
    assert connections is not None
    connections._limits = small_limits(http_idle_timeout_s=0.05)
    connections._options["keepalive_timeout"] = 0.05
    async with Client(rig.port) as client:
        await client.put("/v1/kv/a", "x")
        index = (await client.get("/v1/kv/a")).index
        await held(client, rig, f"/v1/kv/a?index={index}&wait=400ms")
        assert (await client.receive()).index == index


async def test_the_rights_of_its_end_decide() -> None:
    async with managed() as manager, Client(manager.rig.port) as reader:
        rules = 'key "a" { policy = "read" }'
        await manager.make("PUT", "/v1/acl/policy", {"Name": "reads", "Rules": rules})
        made = await manager.make("PUT", "/v1/acl/token", {"Policies": [{"Name": "reads"}]})
        token = {"X-Consul-Token": made["SecretID"]}
        await manager.make("PUT", "/v1/kv/a", b"old")
        index = (await reader.get("/v1/kv/a", **token)).index
        waiting = manager.rig.server._waiting
        for rights in (True, False):
            await reader.send("GET", f"/v1/kv/a?index={index}", None, token)
            await until(lambda: len(waiting._held) == 1)
            if not rights:
                await manager.make("DELETE", f"/v1/acl/token/{made['AccessorID']}", None)
                assert len(waiting) == 1
            await manager.make("PUT", "/v1/kv/a", b"new" if rights else b"newer")
            got = await reader.receive()
            assert got.status == (200 if rights else 403)
            index = got.index if rights else index
        denied = await reader.get(f"/v1/kv/a?index={index}")
        assert denied.status == 403 and len(waiting) == 0
