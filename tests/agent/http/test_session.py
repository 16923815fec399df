"""`/v1/session/` and locks beyond the recordings."""

from __future__ import annotations

import pytest

from tests.agent.http.rig import Client

UNKNOWN = "11111111-2222-3333-4444-555555555555"


async def _node(client: Client) -> None:
    body = b'{"Node":"other","Address":"127.0.0.9"}'
    assert (await client.ask("PUT", "/v1/catalog/register", body)).json is True


async def _create(client: Client, more: str = "") -> str:
    body = b'{"Node":"other","NodeChecks":[]' + more.encode() + b"}"
    return str((await client.ask("PUT", "/v1/session/create", body)).json["ID"])


async def test_a_lock_belongs_to_one_session_until_it_ends(client: Client) -> None:
    await _node(client)
    first = await _create(client, ',"LockDelay":"0s"')
    second = await _create(client)
    assert (await client.ask("PUT", f"/v1/kv/a?acquire={first}", b"1")).json is True
    assert (await client.ask("PUT", f"/v1/kv/a?acquire={second}", b"2")).json is False
    assert (await client.ask("PUT", f"/v1/kv/a?release={second}", b"2")).json is False
    assert (await client.get("/v1/kv/a")).json[0]["Session"] == first
    assert (await client.ask("PUT", f"/v1/session/destroy/{first}")).json is True
    assert "Session" not in (await client.get("/v1/kv/a")).json[0]
    assert (await client.ask("PUT", f"/v1/kv/a?acquire={second}", b"2")).json is True


@pytest.mark.parametrize(
    ("given", "shown"), [("0", 0), ("7", 7_000_000_000), ("5000", 5000), ('"1s"', 1_000_000_000)]
)
async def test_a_small_lock_delay_is_in_seconds(client: Client, given: str, shown: int) -> None:
    await _node(client)
    made = await _create(client, f',"LockDelay":{given}')
    assert (await client.get(f"/v1/session/info/{made}")).json[0]["LockDelay"] == shown


@pytest.mark.parametrize("what", ["renew", "info"])
async def test_an_id_that_is_none_is_told_so(client: Client, what: str) -> None:
    method = "PUT" if what == "renew" else "GET"
    got = await client.ask(method, f"/v1/session/{what}/nope")
    text = "failed session lookup: index error: UUID must be 36 characters"
    assert (got.status, got.text) == (500, text)


async def test_a_lock_for_an_unknown_session_is_refused(client: Client) -> None:
    got = await client.ask("PUT", f"/v1/kv/a?acquire={UNKNOWN}", b"1")
    assert (got.status, got.text) == (500, f'raft apply failed: invalid session "{UNKNOWN}"')
