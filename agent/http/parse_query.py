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
    reads,
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


@reads(lambda: _TARGET)
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


@reads(lambda: _FAILOVER)
def _failover(name: str, value: Json) -> Failover:
    return Failover(**_FAILOVER.read(name, value))


_SERVICE = Shape(
    "ServiceQuery",
    {
        "Service": ("service", string),
        "Failover": ("failover", _failover),
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


@reads(lambda: _SERVICE)
def _service(name: str, value: Json) -> ServiceQuery:
    return ServiceQuery(**_SERVICE.read(name, value))


@reads(lambda: _TEMPLATE)
def _template(name: str, value: Json) -> Template:
    return Template(**_TEMPLATE.read(name, value))


@reads(lambda: _DNS)
def _ttl(name: str, value: Json) -> str:
    return str(_DNS.read(name, value).get("ttl", ""))


QUERY = Shape(
    "PreparedQuery",
    {
        "ID": ("id", string),
        "Name": ("name", string),
        "Session": ("session", string),
        "Token": ("token", string),
        "Template": ("template", _template),
        "Service": ("service", _service),
        "DNS": ("dns_ttl", _ttl),
        "CreateIndex": ("create_index", ignored),
        "ModifyIndex": ("modify_index", ignored),
    },
)


def prepared_query(body: bytes) -> tuple[str, Definition]:
    """The id that is given and the query. Raises RequestError 400."""
    try:
        value = load(body)
        given: dict[str, Any] = {} if value is None else QUERY.read("", value)
    except DecodeFailure as error:
        raise decode_failed(error) from None
    query_id: str = given.pop("id", "")
    return query_id, Definition(**given)


def refuse(words: str) -> RequestError:
    """The answer to a query that cannot be."""
    return RequestError(500, f"Invalid prepared query: {words}")
