"""What a prepared query says, and which queries are refused (http-api contract 14).

The state keeps a query's content as the JSON that clients see; here it becomes a value. None in a
list or map means that it was not given, which clients can tell from an empty one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.durations import DurationError, parse_ns
from agent.meta import meta_problem
from raftstore.definitions import PreparedQuery
from raftstore.records import Json

#: The one type of template there is.
NAME_PREFIX_MATCH = "name_prefix_match"
#: What stands for a token where the reader may not see it.
REDACTED = "<hidden>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where else to look: a datacenter, or a peer."""

    datacenter: str = ""
    peer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover:
    """Where to look when there is nothing here."""

    nearest_n: int = 0
    datacenters: tuple[str, ...] | None = None
    targets: tuple[Target, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceQuery:
    """Which instances are meant. A tag that begins with "!" must not be there."""

    service: str = ""
    failover: Failover = Failover()
    only_passing: bool = False
    ignore_check_ids: tuple[str, ...] | None = None
    near: str = ""
    tags: tuple[str, ...] | None = None
    node_meta: Mapping[str, str] | None = None
    service_meta: Mapping[str, str] | None = None
    connect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """With a type the query answers for all names that begin with its own."""

    type: str = ""
    regexp: str = ""
    remove_empty_tags: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A prepared query. ``dns_ttl`` is a duration text, "" for none."""

    name: str = ""
    session: str = ""
    token: str = ""
    template: Template = Template()
    service: ServiceQuery = ServiceQuery()
    dns_ttl: str = ""

    @property
    def dns_ttl_s(self) -> float | None:
        """The TTL of DNS answers in seconds, None where the query has none of its own."""
        try:
            return parse_ns(self.dns_ttl) / 1e9 if self.dns_ttl else None
        except DurationError:
            return None


def problem(query: Definition) -> str:
    """Why a query is refused, "" if it is not. Templates are looked at by compile_template."""
    if not (query.name or query.template.type or query.session):
        return "Must be bound to a session"
    if query.token == REDACTED:
        return (
            f"Bad Token '{REDACTED}', it looks like a query definition with a redacted token was "
            "submitted"
        )
    return _service_problem(query.service) or _ttl_problem(query.dns_ttl)


def _service_problem(service: ServiceQuery) -> str:
    failover = service.failover
    if not service.service:
        return "Must provide a Service name to query"
    if failover.targets and (failover.datacenters or failover.nearest_n):
        return "Targets cannot be populated with NearestN or Datacenters"
    if failover.nearest_n < 0:
        return f"Bad NearestN '{failover.nearest_n}', must be >= 0"
    for meta in (service.node_meta, service.service_meta):
        found = meta_problem(meta or {}, reserved=True)
        if found:
            return f"Invalid filters: {found}"
    return ""


def _ttl_problem(ttl: str) -> str:
    if not ttl:
        return ""
    try:
        nanoseconds = parse_ns(ttl)
    except DurationError as error:
        return f"Bad DNS TTL '{ttl}': {error}"
    return f"DNS TTL '{nanoseconds}', must be >=0" if nanoseconds < 0 else ""


def to_content(query: Definition) -> dict[str, Json]:
    """What the state keeps beside id, name and session, in the form and order that is shown."""
    service, failover = query.service, query.service.failover
    where: dict[str, Json] = {
        "NearestN": failover.nearest_n,
        "Datacenters": _list(failover.datacenters),
    }
    if failover.targets:
        where["Targets"] = [_target(target) for target in failover.targets]
    return {
        "Token": query.token,
        "Template": {
            "Type": query.template.type,
            "Regexp": query.template.regexp,
            "RemoveEmptyTags": query.template.remove_empty_tags,
        },
        "Service": {
            "Service": service.service,
            "Failover": where,
            "OnlyPassing": service.only_passing,
            "IgnoreCheckIDs": _list(service.ignore_check_ids),
            "Near": service.near,
            "Tags": _list(service.tags),
            "NodeMeta": _map(service.node_meta),
            "ServiceMeta": _map(service.service_meta),
            "Connect": service.connect,
        },
        "DNS": {"TTL": query.dns_ttl},
    }


def _target(target: Target) -> dict[str, Json]:
    shown: dict[str, Json] = {}
    if target.peer:
        shown["Peer"] = target.peer
    if target.datacenter:
        shown["Datacenter"] = target.datacenter
    return shown


def _list(values: tuple[str, ...] | None) -> Json:
    return None if values is None else list(values)


def _map(values: Mapping[str, str] | None) -> Json:
    return None if values is None else dict(values)


def definition_of(record: PreparedQuery) -> Definition:
    """What a stored query says. What it does not say, or does not say well, is as if not given."""
    content = _object(record.content)
    template, service = _object(content.get("Template")), _object(content.get("Service"))
    failover = _object(service.get("Failover"))
    nearest_n, targets = failover.get("NearestN"), failover.get("Targets")
    return Definition(
        name=record.name,
        session=record.session,
        token=_text(content.get("Token")),
        template=Template(
            type=_text(template.get("Type")),
            regexp=_text(template.get("Regexp")),
            remove_empty_tags=template.get("RemoveEmptyTags") is True,
        ),
        service=ServiceQuery(
            service=_text(service.get("Service")),
            failover=Failover(
                nearest_n=nearest_n if isinstance(nearest_n, int) else 0,
                datacenters=_texts(failover.get("Datacenters")),
                targets=_targets(targets) if isinstance(targets, list) else None,
            ),
            only_passing=service.get("OnlyPassing") is True,
            ignore_check_ids=_texts(service.get("IgnoreCheckIDs")),
            near=_text(service.get("Near")),
            tags=_texts(service.get("Tags")),
            node_meta=_pairs(service.get("NodeMeta")),
            service_meta=_pairs(service.get("ServiceMeta")),
            connect=service.get("Connect") is True,
        ),
        dns_ttl=_text(_object(content.get("DNS")).get("TTL")),
    )


def _targets(values: list[Json]) -> tuple[Target, ...]:
    found = map(_object, values)
    return tuple(
        Target(datacenter=_text(each.get("Datacenter")), peer=_text(each.get("Peer")))
        for each in found
    )


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Json) -> tuple[str, ...] | None:
    return tuple(map(_text, value)) if isinstance(value, list) else None


def _pairs(value: Json) -> Mapping[str, str] | None:
    return {key: _text(item) for key, item in value.items()} if isinstance(value, dict) else None
