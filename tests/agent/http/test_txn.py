"""`/v1/txn` beyond the recordings: all or none, how reads are asked, bounds, who did it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent.acl.builtin import ANONYMOUS_ID as ANONYMOUS
from agent.errors import NoClusterLeader
from tests.agent.http.rig import Client, Got, Rig, make_config, small_limits


def kv(verb: str, key: str, value: bytes = b"", **fields: Any) -> dict[str, Any]:
    encoded = {"Value": base64.b64encode(value).decode()} if value else {}
    return {"KV": {"Verb": verb, "Key": key, **encoded, **fields}}


async def run(client: Client, *operations: Any, query: str = "") -> Got:
    return await client.put(f"/v1/txn{query}", operations)


async def index_of(client: Client, key: str) -> int:
    return int((await client.get(f"/v1/kv/{key}")).json[0]["ModifyIndex"])


async def test_every_verb_on_keys_in_one_transaction(client: Client) -> None:
    made = (await client.put("/v1/session/create", {"NodeChecks": [], "LockDelay": "0s"})).json
    got = await run(
        client,
        kv("set", "a", b"1", Flags=3),
        kv("get", "a"),
        kv("get-or-empty", "none"),
        kv("check-not-exists", "none"),
        kv("lock", "a", b"2", Session=made["ID"]),
        kv("check-session", "a", Session=made["ID"]),
        kv("unlock", "a", b"3", Session=made["ID"]),
        kv("check-session", "a", Session=""),
        kv("cas", "new", b"n", Index=0),
        kv("set", "tree/1", b"x"),
        kv("set", "tree/2", b"y"),
        kv("get-tree", "tree"),
        kv("delete-tree", "tree"),
        kv("delete", "new"),
        {"Session": {"Verb": "delete", "Session": {"ID": made["ID"]}}},
    )
    assert (got.status, got.json["Errors"]) == (200, None)
    shown = [(each["KV"]["Key"], each["KV"]["Value"]) for each in got.json["Results"]]
    assert shown == [
        ("a", None), ("a", "MQ=="), ("none", None), ("a", None), ("a", None), ("a", None),
        ("a", None), ("new", None), ("tree/1", None), ("tree/2", None), ("tree/1", "eA=="),
        ("tree/2", "eQ=="),
    ]  # fmt: skip
    index = await index_of(client, "a")
    again = await run(
        client, kv("check-index", "a", Index=index), kv("delete-cas", "a", Index=index)
    )
    assert again.json["Results"][0]["KV"]["ModifyIndex"] == index
    assert (await client.get("/v1/kv/a")).status == 404
    assert (await client.get("/v1/session/list")).json == []


async def test_one_failure_takes_all_back_and_every_failure_is_named(client: Client) -> None:
    await client.ask("PUT", "/v1/kv/a", b"old")
    got = await run(
        client,
        kv("set", "a", b"new"),
        kv("cas", "a", b"x", Index=1),
        {"Node": {"Verb": "set", "Node": {"Node": "n2", "Address": "10.0.0.2"}}},
        kv("check-not-exists", "a"),
    )
    assert got.status == 409
    assert got.json["Results"] is None
    assert [error["OpIndex"] for error in got.json["Errors"]] == [1, 3]
    assert (await client.get("/v1/kv/a?raw")).body == b"old"
    assert (await client.get("/v1/catalog/node/n2")).json is None


async def test_what_cannot_be_tried_reaches_no_log(client: Client, rig: Rig) -> None:
    before = rig.backend.state.index
    service = {"Service": "web", "Address": "0.0.0.0"}
    got = await run(
        client,
        kv("set", "a", b"1"),
        {"Service": {"Verb": "set", "Node": "n1", "Service": service}},
    )
    assert got.status == 409
    assert got.json["Errors"] == [{"OpIndex": 1, "What": "Invalid service address"}]
    assert rig.backend.state.index == before
    assert (await client.get("/v1/kv/a")).status == 404


async def test_reading_asks_and_does_not_write(client: Client, rig: Rig) -> None:
    await client.ask("PUT", "/v1/kv/a", b"1")
    before = rig.backend.state.index
    for query in ("", "?stale", "?consistent", "?index=1000000&wait=10m"):
        got = await run(client, kv("get", "a"), query=query)
        assert got.json["Results"][0]["KV"]["Value"] == "MQ=="
        assert got.json["KnownLeader"] is True
        assert got.headers["x-consul-knownleader"] == "true"
        assert "x-consul-index" not in got.headers
    assert rig.backend.state.index == before
    refused = await run(client, kv("get", "a"), query="?stale&consistent")
    assert refused.status == 400


async def test_a_long_answer_is_the_same_made_in_slices(client: Client) -> None:
    names = [f"t/{number:03}" for number in range(300)]
    for start in range(0, 300, 60):
        await run(client, *(kv("set", name, name.encode()) for name in names[start : start + 60]))
    read = await run(client, kv("get-tree", "t/"))
    written = await run(client, kv("set", "other", b"1"), kv("get-tree", "t/"))
    assert (read.status, written.status) == (200, 200)
    shown = [(each["KV"]["Key"], each["KV"]["Value"]) for each in read.json["Results"]]
    assert shown == [(name, base64.b64encode(name.encode()).decode()) for name in names]
    assert written.json["Results"][1:] == read.json["Results"]
    assert written.json.keys() == {"Results", "Errors"} and written.json["Errors"] is None
    assert read.json["Errors"] is None and read.json["KnownLeader"] is True


async def test_a_reader_can_look_back(client: Client) -> None:
    await client.ask("PUT", "/v1/kv/a", b"1")
    then = await index_of(client, "a")
    await run(client, kv("set", "a", b"2"), kv("set", "b", b"2"))
    got = await run(client, kv("get", "a"), kv("get-tree", ""), query=f"?at={then}")
    assert got.json["Errors"] == [{"OpIndex": 1, "What": "Must provide key"}]
    got = await run(client, kv("get", "a"), kv("check-not-exists", "b"), query=f"?at={then}")
    assert got.json["Results"][0]["KV"]["Value"] == "MQ=="
    gone = await run(client, kv("get", "a"), query="?at=999999")
    assert gone.status == 410


@pytest.mark.parametrize("operation", [kv("get", "a"), kv("set", "a", b"1")])
async def test_another_datacenter_and_no_leader_are_told(
    client: Client, rig: Rig, operation: dict[str, Any]
) -> None:
    got = await run(client, operation, query="?dc=other")
    assert (got.status, got.text) == (500, "No path to datacenter")
    rig.backend.failure = NoClusterLeader()
    got = await run(client, operation)
    assert (got.status, got.text) == (500, "No cluster leader")


async def test_the_history_tells_what_a_transaction_did_and_for_whom(
    client: Client, rig: Rig
) -> None:
    since = rig.backend.state.index
    node = {"Node": "n2", "Address": "10.0.0.2"}
    await run(client, kv("set", "a", b"1"), {"Node": {"Verb": "set", "Node": node}})
    await run(client, kv("set", "b", b"1"), kv("get", "none"))
    changes = (await client.get(f"/v1/history?since={since}")).json["Changes"]
    assert [(c["Table"], c["Key"]) for c in changes] == [("kv", "a"), ("nodes", "n2")]
    assert len({c["Index"] for c in changes}) == 1
    assert {c["Actor"]["AccessorID"] for c in changes} == {ANONYMOUS}
    assert all(c["Actor"]["Address"].startswith("127.0.0.1:") for c in changes)


@pytest.fixture
async def narrow() -> AsyncIterator[Client]:
    """A client of a server with small limits."""
    limits = small_limits(txn_max_req_len=300, kv_max_value_size=50, txn_operations_max=3)
    rig = await Rig(make_config(limits=limits)).start()
    try:
        async with Client(rig.port) as client:
            yield client
    finally:
        await rig.stop()


async def test_the_bounds_of_the_configuration_hold(narrow: Client) -> None:
    got = await run(narrow, *[kv("get", "a")] * 4)
    assert (got.status, got.text) == (413, "Transaction contains too many operations (4 > 3)")
    got = await run(narrow, kv("set", "a", b"x" * 51))
    assert (got.status, got.text) == (413, 'Value for key "a" is too large (51 > 50 bytes)')
    body = json.dumps([kv("get", "k" * 300)]).encode()
    got = await narrow.ask("PUT", "/v1/txn", body)
    assert (got.status, got.text) == (
        413,
        f"Request body({len(body)} bytes) too large, max size: 300 bytes."
        " See https://www.consul.io/docs/agent/options.html#txn_max_req_len.",
    )


async def test_a_transaction_may_be_as_long_as_a_value() -> None:
    limits = small_limits(txn_max_req_len=100, kv_max_value_size=1000)
    rig = await Rig(make_config(limits=limits)).start()
    async with Client(rig.port) as client:
        assert (await run(client, kv("set", "a", b"x" * 600))).status == 200
    await rig.stop()
