"""The description of the API: nothing is forgotten, and what it describes can be sent."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.http import openapi_tables as tables
from agent.http.decode import Shape
from agent.http.openapi import document, path_of
from agent.http.routes import ROUTES
from tests.agent.http.rig import Client, Rig, make_config
from tests.strategies import scaled

ENDPOINTS = [(route, endpoint) for route in ROUTES for endpoint in route.endpoints]
DOCUMENT = document(ROUTES)


def test_every_endpoint_is_an_operation_of_its_own() -> None:
    operations = [
        DOCUMENT["paths"][path_of(route)][endpoint.method.lower()] for route, endpoint in ENDPOINTS
    ]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids) == len(ENDPOINTS)
    assert sum(len(item) for item in DOCUMENT["paths"].values()) == len(ENDPOINTS)
    assert all(operation["summary"] for operation in operations)


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_whatever_is_referred_to_is_there() -> None:
    for reference in references(DOCUMENT):
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    assert DOCUMENT["components"]["schemas"]["ServiceDefinition"]["properties"]["Connect"]


def test_fields_of_bodies_have_types() -> None:
    """A conversion without a schema would be described as anything at all."""
    schemas = DOCUMENT["components"]["schemas"]
    untyped = {
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, kind in schema["properties"].items()
        if not kind
    }
    assert untyped <= UNTYPED, untyped - UNTYPED
    assert all(isinstance(shape, Shape | dict) for shape in tables.BODIES.values())


#: Fields that are read by conversions of their own.
UNTYPED = {
    "ACLTemplatedPolicy.TemplateVariables",
    "ACLToken.ExpirationTime",
    "CoordinateUpdateRequest.Coord",
    "Session.LockDelay",
}


async def test_it_is_served(client: Client) -> None:
    got = await client.get("/v1/openapi.json")
    assert (got.status, got.json["openapi"]) == (200, "3.1.0")
    assert got.json == json.loads(json.dumps(DOCUMENT))


# -- requests as described -----------------------------------------------------------------------

#: Without an end, or the end of the agent.
LEFT_OUT = {"/v1/agent/monitor", "/v1/agent/metrics/stream", "/v1/agent/leave", "/v1/watch"}
STATUSES = {200, 400, 401, 403, 404, 405, 409, 410, 413, 415, 429, 500, 503}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["web", "n1", "passing", "any", "10s", "x/y", "..", "%", "\0", "0", "-1"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)


def values(schema: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """What a schema allows, now and then something else."""
    if "$ref" in schema:
        place = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return ANYTHING if depth > 4 else values(place, depth + 1)
    if "enum" in schema:
        return st.sampled_from(schema["enum"]) | TEXTS
    kind = schema.get("type")
    if isinstance(kind, list):
        return st.one_of(*[values({"type": one}, depth) for one in kind])
    if kind == "object" and "properties" in schema:
        fields = schema["properties"]
        return st.lists(st.sampled_from(sorted(fields)), max_size=5, unique=True).flatmap(
            lambda names: st.fixed_dictionaries(
                {name: values(fields[name], depth + 1) for name in names}
            )
        )
    if kind == "object":
        return st.dictionaries(TEXTS, values(schema.get("additionalProperties", {}), depth + 1),
                               max_size=2)  # fmt: skip
    if kind == "array":
        return st.lists(values(schema["items"], depth + 1), max_size=3)
    return {
        "string": TEXTS,
        "integer": st.integers(-1, 9) | st.integers(),
        "boolean": st.booleans(),
    }.get(kind, ANYTHING)


OPERATIONS = [
    (path, method, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if path not in LEFT_OUT
]


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, bytes | None]:
    path, method, operation = draw(st.sampled_from(OPERATIONS))
    query = []
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            path = path.replace("{name}", quote(draw(TEXTS), safe="/"))
        elif draw(st.integers(0, 3)) == 0:
            value = draw(values(parameter["schema"]))
            for one in value if isinstance(value, list) else [value]:
                query.append(f"{parameter['name']}={quote(str(one))}")
    # Held answers are short: the time they take is not what is tried here.
    held = [part for part in query if not part.startswith("wait=")] + ["wait=1ms"]
    body = None
    if method != "get":
        content = operation.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        body = draw(
            st.binary(max_size=20) | values(schema).map(lambda value: json.dumps(value).encode())
        )
    return method.upper(), f"{path}?{'&'.join(held)}", body


@settings(max_examples=scaled(25), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(requests(), min_size=5, max_size=25))
def test_no_request_finds_a_fault_or_hangs(sent: list[tuple[str, str, bytes | None]]) -> None:
    asyncio.run(answered(sent))


async def answered(sent: list[tuple[str, str, bytes | None]]) -> None:
    rig = await Rig(make_config()).start()
    try:
        for method, target, body in sent:
            async with asyncio.timeout(20), Client(rig.port) as client:
                got = await client.ask(method, target, body)
            known = got.status in STATUSES or (got.status == 301 and not got.body)
            assert known or got.status == 301, (method, target, body, got)
            if got.headers.get("content-type") == "application/json":
                assert got.json is not Ellipsis
            assert rig.server.stats().internal_errors == 0, (method, target, body)
    finally:
        await rig.stop()
