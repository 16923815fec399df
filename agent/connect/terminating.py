"""What the config entries of terminating gateways make of registrations, and of who dials. Pure.

A gateway stands for services outside of the mesh. It is told which; and for each of them it asks as
for a proxy of its own, ``GATEWAY;SERVICE``, with the service's certificate and intentions and where
the service is; and for each subset of its resolver as ``GATEWAY;SERVICE;SUBSET``, the same with
only the places of that subset. Whoever dials such a service is given the gateway's instances as
its endpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
RESOLVERS = "service-resolver"

Services = Mapping[ServiceId, Service]
#: The instances that the filter of a subset lets through.
Matching = Callable[[str, tuple[HealthEntry, ...]], tuple[HealthEntry, ...]]


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
    name = found.name if found.id == proxy_id else _parts(proxy_id)[0]
    if not name:
        return None
    proxy = replace(found.proxy, destination_service_name=name, upstreams=())
    port = found.port if found.id == proxy_id else 0
    return replace(found, id=ServiceId(proxy_id), port=port, proxy=proxy)


def _parts(proxy_id: str) -> tuple[str, str]:
    """The service behind a gateway that a proxy is, and the subset of it, "" for the whole."""
    name, _, subset = proxy_id.partition(SEPARATOR)[2].partition(SEPARATOR)
    return name, subset


def is_linked(service: Service) -> bool:
    """Whether it is a service behind a gateway, and not the gateway itself."""
    own = service.proxy.destination_service_name
    return service.kind == KIND and bool(own) and own != service.name


def entry_of(service: Service) -> tuple[tuple[str, str], ...]:
    """The config entries that say how a service behind a gateway is talked to, and which of its
    instances are in a subset."""
    if not is_linked(service):
        return ()
    name, subset = _parts(service.id)
    return ((KIND, service.name), *(((RESOLVERS, name),) if subset else ()))


def lists(service: Service) -> tuple[str, ...]:
    """The kinds of config entries of which a proxy must know all."""
    return (RESOLVERS,) if service.kind == KIND and not is_linked(service) else ()


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
    *,
    resolvers: tuple[ConfigEntry, ...] | None = None,
    matching: Matching = lambda text, found: found,
) -> dict[str, Any]:
    """The resource of a gateway, or of a service behind one, once it is known. ``matching`` gives
    the instances that the filter of a subset lets through."""
    if service.kind != KIND:
        return {}
    if not is_linked(service):
        if linked is None or resolvers is None:
            return {}
        names = list(dict.fromkeys(one.service for one in linked))
        return {KIND: {"Services": names, "Subsets": _subsets(names, resolvers)}}
    name, subset = _parts(service.id)
    entry = defaults.get(f"{KIND}/{service.name}")
    own = defaults.get(f"service-defaults/{name}")
    resolver = defaults.get(f"{RESOLVERS}/{name}") if subset else {}
    if entry is None or own is None or places is None or resolver is None:
        return {}
    found = _link(entry, name)
    addresses = _addresses(own, places) if found is not None else []
    if subset and addresses:
        addresses = _of_subset((resolver.get("Subsets") or {}).get(subset), places, matching)
    found = found or {}
    return {
        LINKED: {
            **{key: found.get(key, "") for key in ("CAFile", "CertFile", "KeyFile", "SNI")},
            "HostRewrite": not found.get("DisableAutoHostRewrite", False),
            "Subset": subset,
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
    return _dialled(places, only_passing=False)


def _of_subset(
    subset: Mapping[str, Any] | None, places: tuple[HealthEntry, ...], matching: Matching
) -> list[Json]:
    """The instances that are in a subset; none in one that is not there (any more)."""
    if subset is None:
        return []
    kept = matching(str(subset.get("Filter") or ""), places)
    return _dialled(kept, only_passing=bool(subset.get("OnlyPassing")))


def _dialled(places: tuple[HealthEntry, ...], *, only_passing: bool) -> list[Json]:
    outside = tuple(entry for entry in places if not entry.service.kind)
    return [
        {"Address": one.address, "Port": one.port, "Weight": one.weight}
        for one in endpoints(outside, only_passing=only_passing)
    ]


def _subsets(names: Iterable[str], resolvers: Iterable[ConfigEntry]) -> dict[str, Json]:
    """The subsets of those of these services that have any."""
    of = {entry.name.lower(): sorted(entry.content.get("Subsets") or {}) for entry in resolvers}
    return {name: of[name.lower()] for name in names if of.get(name.lower())}


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

    A wildcard means services that are not in the mesh. Which subset is meant the gateway hears in
    the handshake.
    """
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
