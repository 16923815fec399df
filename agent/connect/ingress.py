"""What an ingress gateway's config entry makes of its registration. Pure.

The gateway is told of the services that its listeners lead to as of upstreams without a port of
their own, and of the entry itself, by which it opens its ports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from raftstore.mesh_queries import GatewayService
from raftstore.records import Service, Upstream

KIND = "ingress-gateway"
ANY = "*"
_LIMITS = (
    ("MaxConnections", "max_connections"),
    ("MaxPendingRequests", "max_pending_requests"),
    ("MaxConcurrentRequests", "max_concurrent_requests"),
)


def named(service: Service | None) -> Service | None:
    """A gateway stands for itself: its certificate names its own service."""
    if service is None or service.kind != KIND:
        return service
    return replace(service, proxy=replace(service.proxy, destination_service_name=service.name))


def entry_of(service: Service) -> tuple[tuple[str, str], ...]:
    """The config entry that says what it does, as kind and name."""
    return ((KIND, service.name),) if service.kind == KIND else ()


def resources(service: Service) -> tuple[str, ...]:
    """What a gateway must be told beside what every proxy must."""
    return (KIND,) if service.kind == KIND else ()


def told(
    service: Service,
    defaults: Mapping[str, Mapping[str, Any]],
    linked: Iterable[GatewayService] | None,
) -> dict[str, Any]:
    """The entry as a resource of the gateway, once it is known; its name is the entry's kind.

    A listener for all services names those that ``linked`` says it stands for now.
    """
    found = defaults.get(f"{KIND}/{service.name}") if service.kind == KIND else None
    if found is None:
        return {}
    if not _has_wildcard(found):
        return {KIND: found}
    if linked is None:
        return {}
    behind: dict[int, list[str]] = {}
    for one in linked:
        if one.from_wildcard:
            behind.setdefault(one.port, []).append(one.service)
    listeners = [
        {**listener, "Services": list(_named(listener, behind.get(listener.get("Port", 0), ())))}
        for listener in found.get("Listeners") or ()
    ]
    return {KIND: {**found, "Listeners": listeners}}


def _has_wildcard(entry: Mapping[str, Any]) -> bool:
    return any(each.get("Name") == ANY for each in _services(entry))


def _services(entry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for listener in entry.get("Listeners") or ():
        yield from listener.get("Services") or ()


def _named(listener: Mapping[str, Any], names: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    for each in listener.get("Services") or ():
        if each.get("Name") != ANY:
            yield each
        else:
            yield from ({**each, "Name": name} for name in names)


def extended(
    service: Service,
    defaults: Mapping[str, Mapping[str, Any]],
    linked: Iterable[GatewayService] | None,
) -> Service:
    """The registration with an upstream for each service of its listeners. What the entry bounds
    holds before what the service's own defaults say; of two listeners the first one's."""
    entry = told(service, defaults, linked).get(KIND) or {}
    upstreams: dict[str, Upstream] = {}
    for each in _services(entry):
        name = str(each.get("Name") or "")
        if name and name not in upstreams:
            config = _bounds({**(entry.get("Defaults") or {}), **each})
            upstreams[name] = Upstream(destination_name=name, config=config or None)
    return replace(service, proxy=replace(service.proxy, upstreams=tuple(upstreams.values())))


def _bounds(given: Mapping[str, Any]) -> dict[str, Any]:
    limits = {ours: given[theirs] for theirs, ours in _LIMITS if given.get(theirs)}
    config: dict[str, Any] = {"limits": limits} if limits else {}
    if given.get("PassiveHealthCheck"):
        config["passive_health_check"] = given["PassiveHealthCheck"]
    return config
