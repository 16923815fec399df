"""`?merge-central-config`: what config entries say of proxies, merged into what is registered.

A sidecar's service is the one it stands before, a gateway's is its own. What a registration says
itself wins over its service's `service-defaults`, and these over `proxy-defaults`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from agent.backend import Ask
from agent.http.call import Call
from raftstore.definition_queries import GetConfigEntry
from raftstore.queries import HealthEntry, ServiceNode
from raftstore.records import ExposePath, Json, Proxy, Service

E = TypeVar("E", HealthEntry, ServiceNode)

_SIDECAR = "connect-proxy"
_GATEWAYS = frozenset({"mesh-gateway", "terminating-gateway", "ingress-gateway", "api-gateway"})


def wants_merge(call: Call) -> bool:
    """Whether the client asks for it."""
    return call.params.flag("merge-central-config") is True


async def merged(call: Call, options: Ask, items: Sequence[E]) -> tuple[E, ...]:
    """The items with their proxies as they are configured."""
    central = _Central(call, Ask(consistency=options.consistency, at=options.at))
    return tuple([replace(item, service=await central.merged(item.service)) for item in items])


async def merged_services(
    call: Call, options: Ask, services: Sequence[Service]
) -> tuple[Service, ...]:
    """The same of services alone."""
    central = _Central(call, Ask(consistency=options.consistency, at=options.at))
    return tuple([await central.merged(service) for service in services])


class _Central:
    """The entries that were looked up, by kind and name."""

    def __init__(self, call: Call, options: Ask) -> None:
        self._call = call
        self._options = options
        self._found: dict[tuple[str, str], Mapping[str, Json]] = {}

    async def merged(self, service: Service) -> Service:
        """One service; those that are no proxies stay as they are."""
        if service.kind == _SIDECAR:
            name: str = service.proxy.destination_service_name
        elif service.kind in _GATEWAYS:
            name = service.name
        else:
            return service
        for_all = await self._entry("proxy-defaults", "global")
        own = await self._entry("service-defaults", name)
        return replace(service, proxy=merge(service.proxy, own, for_all))

    async def _entry(self, kind: str, name: str) -> Mapping[str, Json]:
        key = kind, name
        if key not in self._found:
            answer = await self._call.context.backend.ask(GetConfigEntry(*key), self._options)
            content = None if answer.value is None else answer.value.content
            self._found[key] = content if isinstance(content, dict) else {}
        return self._found[key]


def merge(proxy: Proxy, own: Mapping[str, Json], for_all: Mapping[str, Json]) -> Proxy:
    """A proxy with the defaults of its service and of all proxies."""
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


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _text(value: Mapping[str, Json], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


def _mesh_mode(entry: Mapping[str, Json]) -> str:
    return _text(_object(entry.get("MeshGateway")), "Mode")
