"""The body of a prepared query (http-api contract 14)."""

from __future__ import annotations

from typing import Any

from agent.errors import RequestError
from agent.http.decode import (
    DecodeFailure,
    Shape,
    boolean,
    ignored,
    integer,
    load,
    objects,
    string,
    string_map,
    strings,
)
from agent.http.parse import decode_failed
from agent.queries import Definition, Failover, ServiceQuery, Target, Template
from raftstore.records import Json

_TARGET = Shape(
    "QueryFailoverTarget", {"Datacenter": ("datacenter", string), "Peer": ("peer", string)}
)


def _target(name: str, value: Json) -> Target:
    return Target(**_TARGET.read(name, value))


_FAILOVER = Shape(
    "QueryFailoverOptions",
    {
        "NearestN": ("nearest_n", integer),
        "Datacenters": ("datacenters", strings),
        "Targets": ("targets", objects(_target)),
    },
)
_SERVICE = Shape(
    "ServiceQuery",
    {
        "Service": ("service", string),
        "Failover": ("failover", lambda name, value: Failover(**_FAILOVER.read(name, value))),
        "OnlyPassing": ("only_passing", boolean),
        "IgnoreCheckIDs": ("ignore_check_ids", strings),
        "Near": ("near", string),
        "Tags": ("tags", strings),
        "NodeMeta": ("node_meta", string_map),
        "ServiceMeta": ("service_meta", string_map),
        "Connect": ("connect", boolean),
    },
)
_TEMPLATE = Shape(
    "QueryTemplateOptions",
    {
        "Type": ("type", string),
        "Regexp": ("regexp", string),
        "RemoveEmptyTags": ("remove_empty_tags", boolean),
    },
)
_DNS = Shape("QueryDNSOptions", {"TTL": ("ttl", string)})
_QUERY = Shape(
    "PreparedQuery",
    {
        "ID": ("id", string),
        "Name": ("name", string),
        "Session": ("session", string),
        "Token": ("token", string),
        "Template": ("template", lambda name, value: Template(**_TEMPLATE.read(name, value))),
        "Service": ("service", lambda name, value: ServiceQuery(**_SERVICE.read(name, value))),
        "DNS": ("dns_ttl", lambda name, value: _DNS.read(name, value).get("ttl", "")),
        "CreateIndex": ("create_index", ignored),
        "ModifyIndex": ("modify_index", ignored),
    },
)


def prepared_query(body: bytes) -> tuple[str, Definition]:
    """The id that is given and the query. Raises RequestError 400."""
    try:
        value = load(body)
        given: dict[str, Any] = {} if value is None else _QUERY.read("", value)
    except DecodeFailure as error:
        raise decode_failed(error) from None
    query_id: str = given.pop("id", "")
    return query_id, Definition(**given)


def refuse(words: str) -> RequestError:
    """The answer to a query that cannot be."""
    return RequestError(500, f"Invalid prepared query: {words}")
