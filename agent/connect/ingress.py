"""What an ingress gateway's config entry makes of its registration. Pure.

The gateway is told of the services that its listeners lead to as of upstreams without a port of
their own, and of the entry itself, by which it opens its ports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from raftstore.records import Service, Upstream

KIND = "ingress-gateway"
ANY = "*"


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


def told(service: Service, defaults: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The entry as a resource of the gateway, once it is known; its name is the entry's kind."""
    found = defaults.get(f"{KIND}/{service.name}") if service.kind == KIND else None
    return {} if found is None else {KIND: found}


def extended(service: Service, defaults: Mapping[str, Mapping[str, Any]]) -> Service:
    """The registration with an upstream for each service of its listeners."""
    entry = told(service, defaults).get(KIND) or {}
    names = dict.fromkeys(
        str(each["Name"])
        for listener in entry.get("Listeners") or ()
        for each in listener.get("Services") or ()
        if each.get("Name") and each["Name"] != ANY
    )
    upstreams = tuple(Upstream(destination_name=name) for name in names)
    return replace(service, proxy=replace(service.proxy, upstreams=upstreams))
