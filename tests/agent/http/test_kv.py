"""`/v1/kv/` beyond the recordings."""

from __future__ import annotations

import base64

import pytest

from tests.agent.http.rig import Client


async def test_any_bytes_come_back(client: Client) -> None:
    for value in (b"\x00\xff\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256))):
        assert (await client.ask("PUT", "/v1/kv/bin", value)).json is True
        assert (await client.get("/v1/kv/bin?raw")).body == value
        got = (await client.get("/v1/kv/bin")).json[0]
        assert base64.b64decode(got["Value"]) == value


async def test_keys_are_cut_at_the_separator(client: Client) -> None:
    for key in ("a", "d/x", "d/y", "d/e/z", "%C3%A9"):
        await client.ask("PUT", f"/v1/kv/{key}", b"1")
    assert (await client.get("/v1/kv/?keys&separator=/")).json == ["a", "d/", "é"]
    assert (await client.get("/v1/kv/d/?keys&seperator=/")).json == ["d/e/", "d/x", "d/y"]
    assert (await client.get("/v1/kv/none?keys")).status == 404
    await client.ask("DELETE", "/v1/kv/?recurse")
    assert (await client.get("/v1/kv/?keys")).json == []


@pytest.mark.parametrize("parameter", ["flags", "cas"])
async def test_a_bad_number_writes_nothing(client: Client, parameter: str) -> None:
    got = await client.ask("PUT", f"/v1/kv/a?{parameter}=1x", b"v")
    assert (got.status, got.text) == (500, 'strconv.ParseUint: parsing "1x": invalid syntax')
    assert (await client.get("/v1/kv/a")).status == 404


async def test_a_lock_without_a_session_writes_nothing(client: Client) -> None:
    for query in ("acquire=x", "release=", "release=11111111-2222-3333-4444-555555555555"):
        await client.ask("PUT", f"/v1/kv/a?{query}", b"v")
    assert (await client.get("/v1/kv/a")).status == 404
