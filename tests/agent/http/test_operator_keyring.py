"""`/v1/operator/keyring`: what is listed, changed and refused, in Consul's shapes and words."""

from __future__ import annotations

import base64
import json

import pytest

from tests.agent.http.keyed import KeyedRing
from tests.agent.http.rig import Client, Got, Rig

PATH = "/v1/operator/keyring"
OLD, NEW = bytes(range(32)), bytes(range(100, 132))
OLD_TEXT, NEW_TEXT = (base64.b64encode(key).decode() for key in (OLD, NEW))


async def send(client: Client, method: str, target: str, body: object) -> Got:
    return await client.ask(method, target, None if body is None else json.dumps(body).encode())


def three(rig: Rig) -> None:
    ring = rig.pool.keyed
    for name in ("n1", "n2", "n3"):
        ring.rings.setdefault(name, type(ring.rings["n1"])()).install(OLD)
    servers(rig).rings["n1.dc1"].install(OLD)


def servers(rig: Rig) -> KeyedRing:
    """The pool of servers, a ring of its own."""
    assert rig.wan is not None
    return rig.wan.keyed


async def test_a_rotation_through_the_api(rig: Rig, client: Client) -> None:
    three(rig)
    for method, key in (("POST", NEW_TEXT), ("PUT", NEW_TEXT), ("DELETE", OLD_TEXT)):
        done = await send(client, method, f"{PATH}?relay-factor=2", {"Key": key})
        assert (done.status, done.text) == (200, "")
    assert {ring.keys for ring in rig.pool.keyed.rings.values()} == {(NEW,)}
    assert {asked.relay_factor for asked in rig.pool.keyed.asked} == {2}
    assert servers(rig).rings["n1.dc1"].keys == (NEW,)


async def test_each_pool_decides_for_itself(rig: Rig, client: Client) -> None:
    three(rig)
    for ring in rig.pool.keyed.rings.values():
        ring.install(NEW)
    refused = await client.put(PATH, {"Key": NEW_TEXT})
    assert refused.status == 500
    assert "WAN error: 1/1 nodes reported failure, nothing was changed" in refused.text
    assert servers(rig).rings["n1.dc1"].keys == (OLD,)
    assert all(ring.keys[0] == NEW for ring in rig.pool.keyed.rings.values())


async def test_the_list_counts_keys_per_pool(rig: Rig, client: Client) -> None:
    three(rig)
    rig.pool.keyed.rings["n2"].install(NEW)
    wan, lan = (await client.get(PATH)).json
    assert (wan["WAN"], wan["NumNodes"], wan["Keys"]) == (True, 1, {OLD_TEXT: 1})
    assert lan == {
        "WAN": False,
        "Datacenter": "dc1",
        "Segment": "",
        "Keys": {OLD_TEXT: 3, NEW_TEXT: 1},
        "PrimaryKeys": {OLD_TEXT: 3},
        "NumNodes": 3,
    }
    assert [pool["WAN"] for pool in (await client.get(f"{PATH}?local-only=true")).json] == [False]


async def test_a_member_that_lacks_the_key_is_named_and_nothing_changes(
    rig: Rig, client: Client
) -> None:
    three(rig)
    for name in ("n1", "n3"):
        rig.pool.keyed.rings[name].install(NEW)
    servers(rig).rings["n1.dc1"].install(NEW)
    refused = await client.put(PATH, {"Key": NEW_TEXT})
    assert refused.status == 500
    assert refused.text == (
        "2 errors occurred:\n\t* dc1 (LAN) error: 1/3 nodes reported failure, nothing was changed"
        "\n\t* n2: Requested key is not in the keyring\n\n"
    )
    assert all(ring.keys[0] == OLD for ring in rig.pool.keyed.rings.values())


async def test_a_silent_member_stops_use_and_is_named_after_an_install(
    rig: Rig, client: Client
) -> None:
    three(rig)
    rig.pool.keyed.silent = {"n3"}
    installed = await send(client, "POST", PATH, {"Key": NEW_TEXT})
    assert "dc1 (LAN) error: 2/3 nodes reported success\n\t* n3: no answer" in installed.text
    used = await client.put(PATH, {"Key": NEW_TEXT})
    assert "2/3 nodes reported success, nothing was changed\n\t* n3: no answer" in used.text
    listed = await client.get(PATH)
    assert listed.status == 500
    assert "n3: no answer" in listed.text


@pytest.mark.parametrize(
    ("method", "query", "body", "status", "text"),
    [
        ("PUT", "?local-only=true", {}, 400, "Bad request: Invalid local-only"),
        ("GET", "?local-only=maybe", None, 400, "Bad request: Error parsing local-only"),
        ("GET", "?relay-factor=-1", None, 400, "Bad request: Invalid relay-factor"),
        ("POST", "?relay-factor=6", {}, 400, "Bad request: Invalid relay-factor"),
        ("POST", "", {"Key": 5}, 400, "Bad request: Request decode failed: json:"),
        ("POST", "", {"Key": "abc"}, 500, "2 errors occurred:\n\t* WAN error: illegal base64"),
        ("POST", "", {"Key": "YWJj"}, 500, "n1.dc1: key size must be 16, 24 or 32 bytes"),
        ("GET", "?dc=elsewhere", None, 500, "No path to datacenter"),
    ],
)
async def test_what_is_wrong_is_said(
    rig: Rig, client: Client, method: str, query: str, body: object, status: int, text: str
) -> None:
    three(rig)
    answer = await send(client, method, PATH + query, body)
    assert answer.status == status
    assert text in answer.text
    assert {ring.keys for ring in rig.pool.keyed.rings.values()} == {(OLD,)}
