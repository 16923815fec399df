"""`/v1/session/` and locks beyond the recordings."""

from __future__ import annotations

import pytest

from agent.errors import NoClusterLeader
from tests.agent.http.rig import Client, Rig, make_config

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


async def test_a_renewal_is_told_to_the_leader(client: Client, rig: Rig) -> None:
    await _node(client)
    made = await _create(client, ',"TTL":"10s"')
    index = rig.backend.state.index
    got = await client.ask("PUT", f"/v1/session/renew/{made.upper()}")
    assert (got.status, got.json[0]["ID"], got.json[0]["TTL"]) == (200, made, "10s")
    assert "x-consul-index" not in got.headers
    assert rig.sessions.clock(made).renewals == 1
    assert rig.backend.state.index == index  # nothing was written
    without = await _create(client)
    assert (await client.ask("PUT", f"/v1/session/renew/{without}")).json[0]["ID"] == without


async def test_an_ended_session_cannot_be_renewed(client: Client) -> None:
    for session in (UNKNOWN, await _destroyed(client)):
        got = await client.ask("PUT", f"/v1/session/renew/{session}")
        assert (got.status, got.text) == (404, f"Session id '{session}' not found")


async def _destroyed(client: Client) -> str:
    await _node(client)
    made = await _create(client, ',"TTL":"10s"')
    assert (await client.ask("PUT", f"/v1/session/destroy/{made}")).json is True
    return made


async def test_a_renewal_needs_a_leader_and_our_datacenter(client: Client, rig: Rig) -> None:
    got = await client.ask("PUT", f"/v1/session/renew/{UNKNOWN}?dc=elsewhere")
    assert (got.status, got.text) == (500, "No path to datacenter")
    rig.backend.failure = NoClusterLeader()
    got = await client.ask("PUT", f"/v1/session/renew/{UNKNOWN}")
    assert (got.status, got.text) == (500, "No cluster leader")
    rig.backend.failure = None


@pytest.mark.parametrize(("ttl", "allowed"), [("2s", True), ("1999ms", False), ("24h", True),
                                              ("24h1ms", False)])  # fmt: skip
async def test_the_shortest_ttl_is_a_setting(ttl: str, allowed: bool) -> None:
    rig = await Rig(make_config(session_ttl_min_s=2.0)).start()
    async with Client(rig.port) as client:
        body = b'{"NodeChecks":[],"TTL":"%s"}' % ttl.encode()
        got = await client.ask("PUT", "/v1/session/create", body)
    await rig.stop()
    assert got.status == (200 if allowed else 500)
    assert allowed or got.text.endswith("must be between [2s=24h0m0s]")


@pytest.mark.parametrize("what", ["renew", "info"])
async def test_an_id_that_is_none_is_told_so(client: Client, what: str) -> None:
    method = "PUT" if what == "renew" else "GET"
    got = await client.ask(method, f"/v1/session/{what}/nope")
    text = "failed session lookup: index error: UUID must be 36 characters"
    assert (got.status, got.text) == (500, text)


async def test_a_lock_for_an_unknown_session_is_refused(client: Client) -> None:
    got = await client.ask("PUT", f"/v1/kv/a?acquire={UNKNOWN}", b"1")
    assert (got.status, got.text) == (500, f'raft apply failed: invalid session "{UNKNOWN}"')
