"""`/v1/history` and `?at=`: what changed, by whom, and what was there before."""

from __future__ import annotations

import base64
import json

import pytest

from agent.acl.builtin import ANONYMOUS_ID as ANONYMOUS
from tests.agent.http.rig import Client, Rig

REGISTRATION = json.dumps(
    {"Node": "n9", "Address": "10.0.0.9", "Service": {"Service": "web", "Port": 80}}
).encode()


async def write(client: Client, value: bytes) -> int:
    await client.ask("PUT", "/v1/kv/a", value)
    return int((await client.get("/v1/kv/a")).headers["x-consul-index"])


async def test_a_change_names_who_came_from_where(client: Client, rig: Rig) -> None:
    since = rig.backend.state.index
    index = await write(client, b"1")
    await write(client, b"2")
    await client.ask("DELETE", "/v1/kv/a")
    got = (await client.get(f"/v1/history?since={since}&table=kv")).json
    assert [c["Operation"] for c in got["Changes"]] == ["create", "update", "delete"]
    first = got["Changes"][0]
    assert (first["Index"], first["Table"], first["Key"]) == (index, "kv", "a")
    host, _, port = first["Actor"]["Address"].rpartition(":")
    assert (host, port.isdigit()) == ("127.0.0.1", True)
    assert first["Actor"]["AccessorID"] == ANONYMOUS
    assert first["Actor"]["Node"] == rig.config.node_name
    assert first["Before"] is None
    assert base64.b64decode(first["After"]["Value"]) == b"1"
    assert first["Time"].endswith("Z")


async def test_every_read_of_the_state_can_look_back(client: Client, rig: Rig) -> None:
    before = rig.backend.state.index
    one = await write(client, b"1")
    await write(client, b"2")
    await client.ask("PUT", "/v1/catalog/register", REGISTRATION)
    then = await client.get(f"/v1/kv/a?at={one}&raw")
    assert (then.body, then.headers["x-consul-index"]) == (b"1", str(one))
    assert (await client.get(f"/v1/kv/a?at={before}")).status == 404
    for path in ("catalog/service/web", "health/service/web"):
        assert len((await client.get(f"/v1/{path}")).json) == 1
        assert (await client.get(f"/v1/{path}?at={one}")).json == []
        assert len((await client.get(f"/v1/{path}")).json) == 1
    assert "web" not in (await client.get(f"/v1/catalog/services?at={one}")).json
    assert (await client.get(f"/v1/catalog/node/n9?at={one}")).json is None


async def test_a_time_is_a_moment_too(client: Client) -> None:
    await write(client, b"1")
    assert (await client.get("/v1/kv/a?at=2100-01-01T00:00:00Z")).status == 200
    got = await client.get("/v1/history?since=1970-01-01T00:00:00%2B00:00")
    assert got.status == 200


async def test_two_states_are_compared(client: Client, rig: Rig) -> None:
    since = rig.backend.state.index
    await write(client, b"1")
    last = await write(client, b"2")
    await client.ask("PUT", "/v1/kv/gone", b"x")
    await client.ask("DELETE", "/v1/kv/gone")
    got = (await client.get(f"/v1/history?diff&since={since}&key=a")).json
    (change,) = got["Changes"]
    assert (change["Index"], change["Operation"]) == (last, "create")
    assert base64.b64decode(change["After"]["Value"]) == b"2"
    assert (await client.get(f"/v1/history?diff&since={since}&key=gone")).json["Changes"] == []


async def test_every_table_is_shown_and_no_secret(client: Client) -> None:
    got = await client.get("/v1/history")
    assert {"nodes", "ca-config", "ca-roots"} <= {c["Table"] for c in got.json["Changes"]}
    assert b"PRIVATE" not in got.body


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("kv/a?at=999999", 410, "not reached yet"),
        ("kv/a?at=yesterday", 400, '"yesterday" is neither an index nor an RFC 3339 time'),
        ("kv/a?at=2020-01-01T00:00:00", 400, "neither an index nor"),
        ("kv/a?at=1&index=5", 400, "Cannot specify ?at with ?index"),
        ("history?diff", 400, "diff needs since"),
        ("history?limit=0", 400, "limit must be between 1 and"),
        ("history?table=what", 400, 'Unknown table "what"'),
        ("history?at=1", 410, "answered for now only"),
    ],
)
async def test_a_moment_that_cannot_be_told_is_refused_in_words(
    client: Client, path: str, status: int, words: str
) -> None:
    got = await client.get(f"/v1/{path}")
    assert got.status == status
    assert words in got.text
