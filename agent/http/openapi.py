"""The description of the HTTP API in OpenAPI 3.1, made of the route table."""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent import CONSUL_VERSION
from agent.http import openapi_tables as tables
from agent.http.decode import Shape, schema_of
from agent.http.reply import JSON_TYPE
from agent.http.routes.late import documentation
from agent.http.routes.table import Body, Endpoint, Route
from raftstore.records import Json

Object = dict[str, Json]

_TEXT_ERROR: Object = {"text/plain": {"schema": {"type": "string"}}}
_WORD = re.compile(r"[^A-Za-z0-9]+")


def document(routes: Iterable[Route]) -> Object:
    """The description of these routes."""
    paths: dict[str, Object] = {}
    shapes: dict[str, Shape] = {}
    for route in routes:
        item = paths.setdefault(path_of(route), {})
        for endpoint in route.endpoints:
            item[endpoint.method.lower()] = _operation(route, endpoint, shapes)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lictor",
            "version": CONSUL_VERSION,
            "summary": "The HTTP API of Consul, and what lictor adds to it",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(shapes),
            "responses": {"Error": {"description": "What is wrong", "content": _TEXT_ERROR}},
        },
    }


def path_of(route: Route) -> str:
    """The path with its parameter: what is below a prefix may hold slashes."""
    return f"{route.path}{{name}}{route.suffix}" if route.path.endswith("/") else route.path


def key_of(route: Route, endpoint: Endpoint) -> str:
    """How the tables name an endpoint."""
    return f"{endpoint.method} {route.name}"


def _operation(route: Route, endpoint: Endpoint, shapes: dict[str, Shape]) -> Object:
    key = key_of(route, endpoint)
    words = documentation(endpoint.handler).strip()
    operation: Object = {
        "operationId": _WORD.sub("-", f"{endpoint.method} {path_of(route)[4:]}".lower()).strip("-"),
        "tags": [route.path.split("/")[2]],
        "summary": " ".join(words.split("\n\n")[0].split()),
        "parameters": list(_parameters(route, endpoint)),
        "responses": {
            "200": {"description": "Done", "content": _content(key)},
            "default": {"$ref": "#/components/responses/Error"},
        },
        "x-body-limit": endpoint.body.value or None,
        "x-class": endpoint.kind.value,
    }
    body = _body(key, endpoint, shapes)
    return operation if body is None else operation | {"requestBody": body}


def _parameters(route: Route, endpoint: Endpoint) -> Iterable[Object]:
    if route.path.endswith("/"):
        words = "What is asked for; slashes are part of it"
        yield {
            "name": "name",
            "in": "path",
            "required": True,
            "description": words,
            "schema": {"type": "string"},
        }
    own = tables.OF_ENDPOINT.get(key_of(route, endpoint), "")
    for name in dict.fromkeys(f"{own} {tables.OF_CLASS[endpoint.kind]}".split()):
        schema, words = tables.PARAMETERS[name]
        yield {"name": name, "in": "query", "description": words, "schema": schema}


def _content(key: str) -> Object:
    return {} if key in tables.TEXT else {JSON_TYPE: {"schema": {}}}


def _body(key: str, endpoint: Endpoint, shapes: dict[str, Shape]) -> Object | None:
    if endpoint.body in {Body.KV, Body.STREAM}:
        return {"content": {"application/octet-stream": {"schema": {}}}}
    given = tables.BODIES.get(key)
    if given is None:
        return None
    schema = schema_of(given.read, shapes) if isinstance(given, Shape) else given
    if key in tables.LISTS:
        schema = {"type": "array", "items": schema}
    return {"content": {JSON_TYPE: {"schema": schema}}}


def _schemas(shapes: dict[str, Shape]) -> Object:
    """The schemas of all shapes that are referred to, those that they refer to included."""
    made: Object = {}
    while len(made) < len(shapes):
        for name, shape in list(shapes.items()):
            if name not in made:
                fields = {key: schema_of(item, shapes) for key, item in shape.fields.items()}
                made[name] = {
                    "type": "object",
                    "properties": fields,
                    "additionalProperties": False,
                }
    return made
