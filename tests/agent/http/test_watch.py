"""Many reads over one connection: changes, coming back, what cannot be held, bounds."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest

from agent.http import watch
from tests.agent.http.rig import Client, Rig, make_config, small_limits

PATIENCE_S = 20.0


class Events:
    """One open watch."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._text = ""
        self.last_id = ""

    async def open(self, *watched: str, **headers: str) -> str:
        query = "&".join(f"watch={quote(each)}" for each in watched)
        await self._client.send("GET", f"/v1/watch?{query}", None, headers)
        async with asyncio.timeout(PATIENCE_S):
            return (await self._client.reader.readuntil(b"\r\n\r\n")).decode()

    async def next(self) -> tuple[str, dict[str, Any]]:
        """The next event: its kind and its data."""
        while True:
            block, end, rest = self._text.partition("\n\n")
            if not end:
                async with asyncio.timeout(PATIENCE_S):
                    size = int(await self._client.reader.readline(), 16)
                    data = await self._client.reader.readexactly(size + 2)
                assert size, "the stream has ended"
                self._text += data[:-2].decode()
                continue
            self._text = rest
            lines = [line.partition(": ") for line in block.split("\n")]
            found = {name: value for name, _, value in lines if name not in {"data", ""}}
            if "event" not in found:
                continue
            self.last_id = found["id"]
            data = "\n".join(value for name, _, value in lines if name == "data")
            return found["event"], json.loads(data)

    async def several(self, count: int) -> dict[str, Any]:
        """The bodies of the next events by what is watched."""
        got = [await self.next() for _ in range(count)]
        assert {kind for kind, _ in got} == {"change"}, got
        return {data["Watch"]: data["Body"] for _, data in got}


@pytest.fixture
async def other(rig: Rig):
    async with Client(rig.port) as connected:
        yield connected


async def test_every_change_of_what_is_watched_is_told(client: Client, other: Client) -> None:
    await client.put("/v1/kv/a", "x")
    events = Events(client)
    opened = await events.open("kv/a?raw", "health/service/web?passing", "/v1/catalog/nodes")
    assert "Content-Type: text/event-stream" in opened
    first = await events.several(3)
    assert first["kv/a?raw"] == '"x"'
    assert first["health/service/web?passing"] == []
    assert [node["Node"] for node in first["/v1/catalog/nodes"]] == ["n1"]
    await other.put("/v1/kv/b", "nobody looks")
    await other.put("/v1/kv/a", "y")
    assert await events.next() == ("change", {"Watch": "kv/a?raw", "Status": 200, "Body": '"y"'})
    await other.ask("DELETE", "/v1/kv/a")
    kind, gone = await events.next()
    assert (kind, gone["Status"], gone["Body"]) == ("change", 404, "")
    service = {"Service": "web", "ID": "w"}
    await other.put("/v1/catalog/register", {"Node": "n2", "Address": "a", "Service": service})
    later = await events.several(2)
    assert [each["Service"]["ID"] for each in later["health/service/web?passing"]] == ["w"]


async def test_who_comes_back_hears_what_was_missed_and_nothing_twice(rig: Rig) -> None:
    reads = ("kv/a?raw", "kv/b?raw")
    async with Client(rig.port) as client, Client(rig.port) as other:
        for key in ("a", "b"):
            await other.put(f"/v1/kv/{key}", 1)
        events = Events(client)
        await events.open(*reads)
        await events.several(2)
        last_id = events.last_id
    async with Client(rig.port) as client, Client(rig.port) as other:
        await other.put("/v1/kv/b", 2)
        events = Events(client)
        await events.open(*reads, **{"Last-Event-ID": last_id})
        assert await events.several(1) == {"kv/b?raw": "2"}
        await other.put("/v1/kv/a", 3)
        assert await events.several(1) == {"kv/a?raw": "3"}
    async with Client(rig.port) as client:
        events = Events(client)
        await events.open("kv/a?raw", **{"Last-Event-ID": last_id})  # of other watches
        assert await events.several(1) == {"kv/a?raw": "3"}


async def test_what_cannot_be_asked_for_is_told_once_and_the_rest_goes_on(
    rig: Rig, client: Client, other: Client
) -> None:
    events = Events(client)
    await events.open("nope", "snapshot", "watch?watch=kv/a", "catalog/nodes?filter=(", "kv/a?raw")
    got = [await events.next() for _ in range(5)]
    assert sorted((kind, data["Watch"], data["Status"]) for kind, data in got) == [
        ("change", "kv/a?raw", 404),
        ("error", "catalog/nodes?filter=(", 500),
        ("error", "nope", 400),
        ("error", "snapshot", 400),
        ("error", "watch?watch=kv/a", 400),
    ]
    await other.put("/v1/kv/a", 1)
    assert await events.several(1) == {"kv/a?raw": "1"}


async def test_a_stream_in_which_nothing_is_left_ends(client: Client) -> None:
    events = Events(client)
    await events.open("nope")
    assert (await events.next())[0] == "error"
    async with asyncio.timeout(PATIENCE_S):
        assert await client.reader.readexactly(5) == b"0\r\n\r\n"


async def test_a_read_without_an_index_is_looked_at(
    rig: Rig, client: Client, other: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.05)
    query = b'{"Name":"q","Service":{"Service":"web"}}'
    await other.ask("POST", "/v1/query", query)
    events = Events(client)
    await events.open("agent/checks", "query/q/execute")
    first = await events.several(2)
    assert first["agent/checks"] == {} and first["query/q/execute"]["Nodes"] == []
    await other.put("/v1/agent/check/register", {"Name": "c", "TTL": "10s"})
    assert list((await events.several(1))["agent/checks"]) == ["c"]
    given = {"Node": "n2", "Address": "a", "Service": {"Service": "web"}}
    await other.put("/v1/catalog/register", given)
    assert len((await events.several(1))["query/q/execute"]["Nodes"]) == 1


async def test_a_service_of_this_agent_is_held_by_its_hash(
    rig: Rig, client: Client, other: Client
) -> None:
    await other.put("/v1/agent/service/register", {"Name": "web", "Port": 1})
    events = Events(client)
    await events.open("agent/service/web")
    assert (await events.several(1))["agent/service/web"]["Port"] == 1
    assert events.last_id.startswith("h")
    await other.put("/v1/agent/service/register", {"Name": "web", "Port": 2})
    assert (await events.several(1))["agent/service/web"]["Port"] == 2


async def test_watches_are_bounded_and_leave_nothing_behind() -> None:
    rig = await Rig(make_config(limits=small_limits(http_watched_max=2))).start()
    try:
        async with Client(rig.port) as client:
            refused = await client.get("/v1/watch?watch=a&watch=b&watch=c")
            assert (refused.status, refused.text) == (400, "More than 2 reads in one watch")
            assert (await client.get("/v1/watch")).status == 400
            events = Events(client)
            await events.open("kv/a", "kv/b")
            await events.several(2)
            async with asyncio.timeout(PATIENCE_S):
                while rig.server.stats().blocking_queries_held != 3:
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(PATIENCE_S):
            while rig.server.stats().blocking_queries_held or rig.watches:
                await asyncio.sleep(0.01)
    finally:
        await rig.stop()


async def test_a_watch_ends_with_the_agent(rig: Rig) -> None:
    async with Client(rig.port) as client:
        events = Events(client)
        await events.open("kv/a")
        await events.several(1)
        await rig.stop()
        async with asyncio.timeout(PATIENCE_S):
            assert (await client.reader.read()).endswith(b"0\r\n\r\n")
