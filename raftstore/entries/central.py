"""What config entries say of proxies, merged into registrations (mesh contract C.2, C.3). Pure.

A sidecar's entries are those of the service it stands before, a gateway's its own. What a
registration says itself wins over its service's `service-defaults`, and these over
`proxy-defaults`; of an upstream's settings its service's `UpstreamConfig` comes between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from raftstore.entries.defaults import GLOBAL, protocol_of
from raftstore.records import ExposePath, Json, Proxy, Service, Upstream

SIDECAR = "connect-proxy"
GATEWAYS = frozenset({"mesh-gateway", "terminating-gateway", "ingress-gateway", "api-gateway"})
#: Upstreams of one proxy whose entries are looked at.
UPSTREAMS_MAX = 256
#: A kind and a name of a config entry.
Key = tuple[str, str]

_EVERYWHERE: Key = ("proxy-defaults", GLOBAL)
_PREPARED_QUERY = "prepared_query"


def subject(service: Service) -> str:
    """The service whose defaults count for a proxy; "" for what is no proxy."""
    if service.kind == SIDECAR:
        return service.proxy.destination_service_name
    return service.name if service.kind in GATEWAYS else ""


def entries_of(service: Service) -> tuple[Key, ...]:
    """The config entries that count for a service; none for what is no proxy."""
    name = subject(service)
    if not name:
        return ()
    own = [name, *(one.destination_name for one in _followed(service.proxy))]
    return tuple(dict.fromkeys([_EVERYWHERE, *(("service-defaults", each) for each in own)]))


def merged(service: Service, entries: Mapping[Key, Mapping[str, Json]]) -> Service:
    """A service with what ``entries`` say of it; those that are missing say nothing."""
    name = subject(service)
    if not name or not any(entries.get(key) for key in entries_of(service)):
        return service
    for_all = entries.get(_EVERYWHERE) or {}
    own = entries.get(("service-defaults", name)) or {}
    proxy = merge(service.proxy, own, for_all)
    upstreams = tuple(
        one if one.destination_type == _PREPARED_QUERY else _upstream(one, own, entries)
        for one in proxy.upstreams
    )
    return replace(service, proxy=replace(proxy, upstreams=upstreams))


def merge(proxy: Proxy, own: Mapping[str, Json], for_all: Mapping[str, Json]) -> Proxy:
    """A proxy with the defaults of its service and of all proxies, without those of upstreams."""
    config = dict(_object(for_all.get("Config")))
    if own.get("Protocol"):
        config["protocol"] = own["Protocol"]
    config |= proxy.config or {}
    expose = _object(own.get("Expose")) or _object(for_all.get("Expose"))
    transparent = _object(own.get("TransparentProxy")) or _object(for_all.get("TransparentProxy"))
    changes: dict[str, Any] = {
        "config": config or None,
        "mode": proxy.mode or _text(own, "Mode") or _text(for_all, "Mode"),
        "mesh_gateway_mode": proxy.mesh_gateway_mode or _mesh_mode(own) or _mesh_mode(for_all),
        "outbound_listener_port": proxy.outbound_listener_port
        or int(transparent.get("OutboundListenerPort") or 0),
        "dialed_directly": proxy.dialed_directly or transparent.get("DialedDirectly") is True,
    }
    if not proxy.expose_checks and not proxy.expose_paths:
        changes["expose_checks"] = expose.get("Checks") is True
        changes["expose_paths"] = tuple(
            ExposePath(
                path=_text(path, "Path"),
                listener_port=int(path.get("ListenerPort") or 0),
                local_path_port=int(path.get("LocalPathPort") or 0),
                protocol=_text(path, "Protocol"),
            )
            for path in map(_object, expose.get("Paths") or ())
        )
    return replace(proxy, **changes)


def settings_of(upstream: str, own: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """What a service's defaults say of one of its upstreams, what counts more behind."""
    rules = own.get("UpstreamConfig") or {}
    override: Mapping[str, Any] = next(
        (one for one in rules.get("Overrides", ()) if one.get("Name") == upstream), {}
    )
    return (rules.get("Defaults") or {}, override)


def apply_settings(config: dict[str, Any], settings: Mapping[str, Any]) -> None:
    """Put the settings of a service-defaults entry over those of an upstream."""
    if settings.get("Protocol"):
        config["protocol"] = settings["Protocol"]
    if settings.get("ConnectTimeoutMs"):
        config["connect_timeout_ms"] = settings["ConnectTimeoutMs"]
    if "Limits" in settings:
        limits = settings["Limits"]
        config["limits"] = config.get("limits", {}) | {
            ours: limits[theirs]
            for theirs, ours in (
                ("MaxConnections", "max_connections"),
                ("MaxPendingRequests", "max_pending_requests"),
                ("MaxConcurrentRequests", "max_concurrent_requests"),
            )
            if theirs in limits
        }
    if "PassiveHealthCheck" in settings:
        config["passive_health_check"] = settings["PassiveHealthCheck"]


def _upstream(
    upstream: Upstream, own: Mapping[str, Any], entries: Mapping[Key, Mapping[str, Json]]
) -> Upstream:
    its = entries.get(("service-defaults", upstream.destination_name)) or {}
    config: dict[str, Any] = {}
    protocol = protocol_of(its or None, entries.get(_EVERYWHERE))
    if protocol != "tcp":
        config["protocol"] = protocol
    mesh_mode = _mesh_mode(its)
    for settings in settings_of(upstream.destination_name, own):
        apply_settings(config, settings)
        mesh_mode = _mesh_mode(settings) or mesh_mode
    given = dict(upstream.config or {})
    if isinstance(given.get("limits"), Mapping):
        given["limits"] = config.get("limits", {}) | dict(given["limits"])
    config |= given
    return replace(
        upstream,
        config=config or upstream.config,
        mesh_gateway_mode=upstream.mesh_gateway_mode or mesh_mode,
    )


def _followed(proxy: Proxy) -> Iterable[Upstream]:
    """The upstreams whose defaults count."""
    several = proxy.upstreams[:UPSTREAMS_MAX]
    return (one for one in several if one.destination_type != _PREPARED_QUERY)


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _text(value: Mapping[str, Json], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


def _mesh_mode(entry: Mapping[str, Json]) -> str:
    return _text(_object(entry.get("MeshGateway")), "Mode")
