"""`/v1/query`: what is refused and in which words, templates, sessions, methods."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.agent.http.rig import Client, Got, Rig

NOBODY = "0a0a0a0a-0000-4000-8000-00000000000a"


async def create(client: Client, body: Any) -> Got:
    return await client.ask("POST", "/v1/query", json.dumps(body).encode())


def web(**fields: Any) -> dict[str, Any]:
    return {"Name": "q", "Service": {"Service": "web"}} | fields


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"ID": NOBODY} | web(), 500, "ID must be empty when creating a new prepared query"),
        (web(Name=""), 500, "Invalid prepared query: Must be bound to a session"),
        ({"Name": "q"}, 500, "Invalid prepared query: Must provide a Service name to query"),
        (None, 500, "Invalid prepared query: Must be bound to a session"),
        (web(DNS={"TTL": "x"}), 500,
         'Invalid prepared query: Bad DNS TTL \'x\': time: invalid duration "x"'),
        (web(Session=NOBODY), 500, "raft apply failed: invalid session"),
        (web(Session="x"), 500,
         "raft apply failed: failed session lookup: index error: UUID must be 36 characters"),
        (web(Template={"Type": "x"}), 500,
         "raft apply failed: failed compiling template: Bad Template.Type 'x'"),
        (web(Bogus=1), 400, 'Request decode failed: json: unknown field "Bogus"'),
        (web(Service={"Service": 1}), 400,
         "Request decode failed: json: cannot unmarshal number into Go struct field .Service of "
         "type string"),
    ],
)  # fmt: skip
async def test_a_query_that_cannot_be_is_refused(
    client: Client, body: Any, status: int, words: str
) -> None:
    got = await create(client, body)
    assert (got.status, got.text) == (status, words)
    assert (await client.get("/v1/query")).json == []


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/v1/query/x", 500,
         "failed prepared query lookup: index error: UUID must be 36 characters"),
        ("GET", f"/v1/query/{NOBODY}", 404, "Query not found"),
        ("GET", f"/v1/query/{NOBODY}/execute", 404, "Query not found"),
        ("GET", "/v1/query/x/explain", 404, "Query not found"),
        ("GET", "/v1/query/x/execute?connect=zz", 500,
         'Error parsing \'connect\' value: strconv.ParseBool: parsing "zz": invalid syntax'),
        ("GET", "/v1/query/x/execute?limit=1.5", 500,
         'Bad limit: strconv.Atoi: parsing "1.5": invalid syntax'),
        ("GET", "/v1/query/x/execute?dc=dc9", 500, "No path to datacenter"),
        ("DELETE", f"/v1/query/{NOBODY}", 500,
         f"Cannot modify non-existent prepared query: '{NOBODY}'"),
        ("PUT", f"/v1/query/{NOBODY}", 500,
         f"Cannot modify non-existent prepared query: '{NOBODY}'"),
        ("DELETE", "/v1/query/x", 500,
         "Prepared Query lookup failed: failed prepared query lookup: index error: UUID must be "
         "36 characters"),
    ],
)  # fmt: skip
async def test_a_query_that_is_not_there(
    client: Client, method: str, path: str, status: int, words: str
) -> None:
    got = await client.ask(method, path, b"" if method == "PUT" else None)
    assert (got.status, got.text) == (status, words)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/query", "GET,POST"),
        ("/v1/query/x", "GET,PUT,DELETE"),
        ("/v1/query/x/execute", "GET"),
        ("/v1/query/x/explain", "GET"),
        ("/v1/query/execute", "GET"),
    ],
)
async def test_methods_are_told_as_the_reference_tells_them(
    client: Client, path: str, methods: str
) -> None:
    refused = await client.ask("PATCH", path)
    own = path != "/v1/query"
    assert (refused.status, refused.text) == (405, "method PATCH not allowed")
    assert refused.headers["allow"] == (methods if own else f"OPTIONS,{methods}")
    options = await client.ask("OPTIONS", path)
    assert (options.headers["allow"], options.text) == (f"OPTIONS,{methods}", "{}" if own else "")


async def test_a_template_answers_for_names_and_is_explained(client: Client) -> None:
    for node, tag in (("a", "primary"), ("b", "replica")):
        service = {"Service": "db-redis", "Tags": [tag]}
        given = {"Node": node, "Address": "10.0.0.1", "Service": service}
        await client.put("/v1/catalog/register", given)
    made = await create(
        client,
        {
            "Name": "geo-",
            "Template": {"Type": "name_prefix_match", "Regexp": "^geo-(.+?)(?:-([^-]+))?$",
                         "RemoveEmptyTags": True},
            "Service": {"Service": "db-${match(1)}", "Tags": ["${match(2)}"]},
        },
    )  # fmt: skip
    query_id = made.json["ID"]
    for name, nodes in (("geo-redis-replica", {"b"}), ("geo-redis", {"a", "b"})):
        got = (await client.get(f"/v1/query/{name}/execute?cached")).json
        assert ({each["Node"]["Node"] for each in got["Nodes"]}, got["Failovers"]) == (nodes, 0)
    got = await client.get("/v1/query/geo-redis-replica/explain?stale")
    assert (
        got.json["Query"]["Service"] | {"Service": "db-redis", "Tags": ["replica"]}
        == (got.json["Query"]["Service"])
    )
    assert (got.json["Query"]["ID"], got.json["ConsistencyLevel"]) == (query_id, "stale")
    refused = await client.get(f"/v1/query/{query_id}/execute")
    assert refused.text == "prepared query templates can only be resolved up by name, not by ID"
    assert refused.status == 500


async def test_a_query_ends_with_its_session(rig: Rig, client: Client) -> None:
    session = (await client.put("/v1/session/create", {"NodeChecks": []})).json["ID"]
    made = (await create(client, web(Name="", Session=session))).json["ID"]
    assert (await client.get(f"/v1/query/{made}/execute")).status == 200
    listed = await client.get("/v1/query")
    index = listed.headers["x-consul-index"]
    await client.send("GET", f"/v1/query?index={index}&wait=60s")
    await asyncio.sleep(0)
    async with Client(rig.port) as other:
        await other.put(f"/v1/session/destroy/{session}")
    async with asyncio.timeout(10):
        gone = await client.receive()
    assert (gone.json, int(gone.headers["x-consul-index"]) > int(index)) == ([], True)


async def test_near_is_the_asking_machine_where_a_proxy_says_who_asks(client: Client) -> None:
    for node, address in (("a", "10.0.0.1"), ("b", "10.0.0.2")):
        given = {"Node": node, "Address": address, "Service": {"Service": "web"}}
        await client.put("/v1/catalog/register", given)
    await create(client, web())
    for address, first in (("10.0.0.2", "b"), ("10.0.0.1, 10.0.0.2", "a")):
        path = "/v1/query/q/execute?near=_ip"
        got = await client.ask("GET", path, None, {"X-Forwarded-For": address})
        assert got.json["Nodes"][0]["Node"]["Node"] == first
