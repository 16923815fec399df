"""What a proxy's registration, the defaults and the compiled chains come to. Pure.

Decides which settings count (the registration before service-defaults before proxy-defaults, mesh
contract C.2, C.3), which services a chain leads to, and which instances may be dialled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent.connect import ingress
from raftstore.entries.central import UPSTREAMS_MAX, apply_settings, merged, settings_of
from raftstore.entries.defaults import GLOBAL, protocol_of
from raftstore.places import Locality
from raftstore.queries import HealthEntry
from raftstore.records import CRITICAL, PASSING, ExposePath, Intention, Json, Service, Upstream

#: Endpoints of one target that a proxy is told of.
ENDPOINTS_MAX = 4096
#: Bounds that hold where nothing else is said (mesh contract C.3).
LIMIT = 1024
_PROXY = f"proxy-defaults/{GLOBAL}"
_SERVICE = "service-defaults/{}"
#: Settings of ours in proxy-defaults' Config hold for every upstream that does not set them.
_OURS = "lictor_"

Defaults = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamView:
    """An upstream with its settings. ``key`` names its chain; the overrides are what only the
    registration itself asks for."""

    key: str
    name: str
    upstream: Upstream
    config: Mapping[str, Json]
    protocol_override: str = ""
    connect_timeout_override_ns: int = 0
    #: For a transparent proxy: the service's own address, and whether instances are dialled by
    #: theirs.
    virtual_ip: str = ""
    dialed_directly: bool = False
    #: Where a service outside of the mesh is by its defaults, as they name it, and the port.
    destinations: tuple[str, ...] = ()
    destination_port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyView:
    """A proxy's registration with the settings that count for it."""

    service: Service
    protocol: str
    config: Mapping[str, Json]
    mutual_tls: str
    rate_limits: Json
    #: What the proxy opens for the checks of its service.
    checks: tuple[ExposePath, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointView:
    """An instance that may be dialled."""

    node: str
    id: str
    address: str
    port: int
    weight: int
    status: str
    datacenter: str
    meta: tuple[tuple[str, str], ...]
    locality: Locality | None = None


def key_of(upstream: Upstream) -> str:
    """Names an upstream among those of one proxy."""
    place = f"@{upstream.datacenter}" if upstream.datacenter else ""
    return f"{upstream.destination_name}{place}"


def defaults_of(service: Service, *, central: bool = True) -> tuple[tuple[str, str], ...]:
    """The config entries whose settings count, as kind and name; without ``central`` none of
    `proxy-defaults` and `service-defaults`."""
    if not central:
        return (("mesh", "mesh"), *ingress.entry_of(service))
    proxy = service.proxy
    named = [
        one.destination_name
        for one in proxy.upstreams[:UPSTREAMS_MAX]
        if one.destination_type != "prepared_query"
    ]
    found = [
        ("proxy-defaults", GLOBAL),
        ("mesh", "mesh"),
        *ingress.entry_of(service),
        ("service-defaults", proxy.destination_service_name),
    ]
    return tuple(dict.fromkeys([*found, *(("service-defaults", name) for name in named)]))


def proxy_of(
    service: Service, defaults: Defaults, checks: tuple[ExposePath, ...] = ()
) -> ProxyView:
    """The registration with what holds for it; ``checks`` are exposed beside."""
    own = defaults.get(_SERVICE.format(service.proxy.destination_service_name)) or {}
    everywhere = defaults.get(_PROXY) or {}
    config = {**(everywhere.get("Config") or {})}
    for entry_key, key in (
        ("MaxInboundConnections", "max_inbound_connections"),
        ("LocalConnectTimeoutMs", "local_connect_timeout_ms"),
        ("LocalRequestTimeoutMs", "local_request_timeout_ms"),
    ):
        if own.get(entry_key):
            config[key] = own[entry_key]
    config["protocol"] = protocol_of(own or None, everywhere)
    if everywhere.get("AccessLogs"):
        config["access_logs"] = everywhere["AccessLogs"]
    config |= service.proxy.config or {}
    return ProxyView(
        service=_with_defaults(service, defaults),
        protocol=str(config["protocol"]),
        config=config,
        mutual_tls=own.get("MutualTLSMode") or everywhere.get("MutualTLSMode") or "strict",
        rate_limits=own.get("RateLimits"),
        checks=checks,
    )


def is_transparent(service: Service, defaults: Defaults) -> bool:
    """Whether the kernel leads connections to the proxy."""
    return _with_defaults(service, defaults).proxy.mode == "transparent"


def of(service: Service, defaults: Defaults) -> tuple[UpstreamView, ...]:
    """The upstreams with what holds for each, one for each destination."""
    own = defaults.get(_SERVICE.format(service.proxy.destination_service_name)) or {}
    found: dict[str, UpstreamView] = {}
    whole = _with_defaults(service, defaults)
    for upstream, told in zip(
        service.proxy.upstreams[:UPSTREAMS_MAX], whole.proxy.upstreams, strict=False
    ):
        if upstream.destination_type != "prepared_query":
            view = _upstream(upstream, own, defaults)
            view = replace(
                view, upstream=replace(upstream, mesh_gateway_mode=told.mesh_gateway_mode)
            )
            found.setdefault(key_of(upstream), view)
    return tuple(found.values())


def _with_defaults(service: Service, defaults: Defaults) -> Service:
    entries = {(kind, name): value for key, value in defaults.items()
               for kind, _, name in (key.partition("/"),)}  # fmt: skip
    return merged(service, entries)


def _upstream(upstream: Upstream, own: Mapping[str, Any], defaults: Defaults) -> UpstreamView:
    name = upstream.destination_name
    its = defaults.get(_SERVICE.format(name))
    given = dict(upstream.config or {})
    everywhere = (defaults.get(_PROXY) or {}).get("Config") or {}
    config: dict[str, Any] = {
        **{key: value for key, value in everywhere.items() if key.startswith(_OURS)},
        "protocol": protocol_of(its or None, defaults.get(_PROXY)),
        "limits": {"max_connections": LIMIT, "max_pending_requests": LIMIT,
                   "max_concurrent_requests": LIMIT},
    }  # fmt: skip
    for settings in settings_of(name, own):
        apply_settings(config, settings)
    limits = {**config["limits"], **_as_map(given.pop("limits", None))}
    config |= given
    config["limits"] = limits
    timeout = given.get("connect_timeout_ms")
    honest = isinstance(timeout, int | float) and 0 < timeout < 1e9
    place = _as_map((its or {}).get("Destination"))
    return UpstreamView(
        key=key_of(upstream),
        name=name,
        upstream=upstream,
        config=config,
        protocol_override=str(given.get("protocol") or "").lower(),
        connect_timeout_override_ns=int(timeout * 1e6) if honest and timeout else 0,
        dialed_directly=bool(
            ((its or {}).get("TransparentProxy") or {}).get("DialedDirectly", False)
        ),
        destinations=tuple(str(each) for each in place.get("Addresses") or ()),
        destination_port=int(place.get("Port") or 0),
    )


def _as_map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def targets_of(chains: Iterable[Json]) -> dict[str, Mapping[str, Any]]:
    """The targets of chains by id."""
    return {key: target for chain in chains for key, target in chain["Targets"].items()}


def services_of(chains: Iterable[Json], datacenter: str) -> set[str]:
    """The services of this datacenter that chains lead to."""
    return {
        str(target["Service"])
        for target in targets_of(chains).values()
        if target["Datacenter"] == datacenter
    }


def providers_of(intentions: Iterable[Intention]) -> tuple[str, ...]:
    """The JWT providers that intentions ask for tokens of."""
    found: dict[str, None] = {}
    for item in intentions:
        wants = [item.jwt, *(one.get("JWT") for one in item.source.permissions)]
        for want in wants:
            for provider in (want or {}).get("Providers", ()):
                found[str(provider.get("Name", ""))] = None
    return tuple(found)


def endpoints(found: Iterable[HealthEntry], *, only_passing: bool) -> tuple[EndpointView, ...]:
    """The instances that may be dialled, by node and id; never a critical one."""
    kept = []
    for entry in found:
        states = {check.status for check in entry.checks}
        if CRITICAL in states or (only_passing and states - {PASSING}):
            continue
        passing = not states - {PASSING}
        weights, service = entry.service.weights, entry.service
        address = service.address or entry.node.address
        if not address or not service.port:
            continue
        kept.append(
            EndpointView(
                node=entry.node.name,
                id=service.id,
                address=address,
                port=service.port,
                weight=weights.passing if passing else weights.warning,
                status=PASSING if passing else "warning",
                datacenter=entry.node.datacenter,
                meta=tuple(sorted((service.meta or {}).items())),
                locality=service.locality or entry.node.locality,
            )
        )
    kept.sort(key=lambda one: (one.node, one.id))
    return tuple(kept[:ENDPOINTS_MAX])
