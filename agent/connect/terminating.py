"""What the config entries of terminating gateways make of registrations, and of who dials. Pure.

A gateway stands for services outside of the mesh. It is told which; and for each of them it asks as
for a proxy of its own, ``GATEWAY;SERVICE``, with the service's certificate and intentions and where
the service is. Whoever dials such a service is given the gateway's instances as its endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from agent.connect.upstreams import EndpointView, endpoints
from raftstore.definitions import ConfigEntry
from raftstore.mesh_queries import GatewayService
from raftstore.queries import HealthEntry
from raftstore.records import Json, Service, ServiceId

KIND = "terminating-gateway"
ANY = "*"
SEPARATOR = ";"
#: The resource that says where the service of one of its proxies is.
LINKED = "linked"

Services = Mapping[ServiceId, Service]


def owner_of(services: Services, proxy_id: str) -> ServiceId:
    """The registration that a proxy belongs to: its own, or its gateway's."""
    whole = ServiceId(proxy_id)
    return whole if whole in services else ServiceId(proxy_id.partition(SEPARATOR)[0])


def registration(services: Services, proxy_id: str) -> Service | None:
    """What a proxy is registered as; a service behind a gateway as the gateway, under its name."""
    found = services.get(owner_of(services, proxy_id))
    if found is None or (found.kind != KIND and found.id != proxy_id):
        return None
    if found.kind != KIND:
        return found
    name = found.name if found.id == proxy_id else proxy_id.partition(SEPARATOR)[2]
    if not name:
        return None
    proxy = replace(found.proxy, destination_service_name=name, upstreams=())
    port = found.port if found.id == proxy_id else 0
    return replace(found, id=ServiceId(proxy_id), port=port, proxy=proxy)


def is_linked(service: Service) -> bool:
    """Whether it is a service behind a gateway, and not the gateway itself."""
    own = service.proxy.destination_service_name
    return service.kind == KIND and bool(own) and own != service.name


def entry_of(service: Service) -> tuple[tuple[str, str], ...]:
    """The config entry that says how a service behind a gateway is talked to."""
    return ((KIND, service.name),) if is_linked(service) else ()


def resources(service: Service) -> tuple[str, ...]:
    """What such a proxy must be told beside what every proxy must."""
    if service.kind != KIND:
        return ()
    return (LINKED,) if is_linked(service) else (KIND,)


def told(
    service: Service,
    defaults: Mapping[str, Mapping[str, Any]],
    linked: tuple[GatewayService, ...] | None,
    places: tuple[HealthEntry, ...] | None,
) -> dict[str, Any]:
    """The resource of a gateway, or of a service behind one, once it is known."""
    if service.kind != KIND:
        return {}
    if not is_linked(service):
        if linked is None:
            return {}
        return {KIND: {"Services": list(dict.fromkeys(one.service for one in linked))}}
    name = service.proxy.destination_service_name
    entry = defaults.get(f"{KIND}/{service.name}")
    own = defaults.get(f"service-defaults/{name}")
    if entry is None or own is None or places is None:
        return {}
    found = _link(entry, name)
    addresses = _addresses(own, places) if found is not None else []
    found = found or {}
    return {
        LINKED: {
            **{key: found.get(key, "") for key in ("CAFile", "CertFile", "KeyFile", "SNI")},
            "HostRewrite": not found.get("DisableAutoHostRewrite", False),
            "Addresses": addresses,
        }
    }


def _link(entry: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    links = {str(one.get("Name", "")).lower(): one for one in entry.get("Services") or ()}
    return links.get(name.lower()) or links.get(ANY)


def _addresses(own: Mapping[str, Any], places: tuple[HealthEntry, ...]) -> list[Json]:
    """Where the service is: what its own defaults say, or else its instances in the catalog."""
    given = own.get("Destination") or {}
    if given.get("Addresses"):
        port = given.get("Port", 0)
        return [{"Address": address, "Port": port} for address in given["Addresses"]]
    outside = tuple(entry for entry in places if not entry.service.kind)
    return [
        {"Address": one.address, "Port": one.port, "Weight": one.weight}
        for one in endpoints(outside, only_passing=False)
    ]


def dialled(gateways: Iterable[ConfigEntry], services: Iterable[str]) -> tuple[str, ...]:
    """The gateways that may stand for one of these services."""
    wanted = {name.lower() for name in services}
    return tuple(
        entry.name
        for entry in gateways
        if any(each in wanted or each == ANY for each in _named(entry))
    )


def standing_for(
    target: Mapping[str, Any],
    gateways: Iterable[ConfigEntry],
    instances: Mapping[str, tuple[HealthEntry, ...]],
    *,
    in_mesh: bool,
) -> tuple[EndpointView, ...] | None:
    """The instances of the gateways that stand for a target, None while those are not known.

    A wildcard means services that are not in the mesh. No gateway can tell a subset.
    """
    if target.get("ServiceSubset"):
        return ()
    name, found = str(target["Service"]).lower(), []
    for entry in gateways:
        named = _named(entry)
        if name in named or (ANY in named and not in_mesh):
            if entry.name not in instances:
                return None
            found += [each for each in instances[entry.name] if each.service.kind == KIND]
    return endpoints(tuple(found), only_passing=False)


def _named(entry: ConfigEntry) -> set[str]:
    return {str(one.get("Name", "")).lower() for one in entry.content.get("Services") or ()}
