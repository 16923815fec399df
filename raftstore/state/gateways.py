"""Which services stand behind which gateway, by the gateways' config entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from raftstore.definitions import ConfigEntry
from raftstore.entries import kinds
from raftstore.entries.defaults import protocol_of
from raftstore.entries.graph import Graph
from raftstore.entries.rules import WILDCARD
from raftstore.mesh_queries import GatewayService

Listing = Callable[[str], Iterable[ConfigEntry]]


def gateway_services(
    graph: Graph, entries: Listing, gateway: str, names: Iterable[tuple[str, bool]]
) -> tuple[GatewayService, ...]:
    """The services behind a gateway. A wildcard stands for those of ``names`` that fit it; with
    each stands whether it is in the mesh."""
    found: list[GatewayService] = []
    for kind in (kinds.INGRESS, kinds.TERMINATING):
        for entry in entries(kind):
            if entry.name.lower() == gateway.lower():
                linked = list(_linked(entry))
                found += _expanded(graph, linked, list(names))
    return tuple(sorted(found, key=lambda one: (one.service, one.port)))


def _linked(entry: ConfigEntry) -> Iterator[GatewayService]:
    base = GatewayService(
        gateway=entry.name,
        service="",
        kind=entry.kind,
        create_index=entry.create_index,
        modify_index=entry.modify_index,
    )
    for listener in entry.content.get("Listeners", ()):
        for service in listener.get("Services", ()):
            yield replace(
                base,
                service=service.get("Name", ""),
                port=listener.get("Port", 0),
                protocol=listener.get("Protocol", ""),
                hosts=tuple(service.get("Hosts", ())),
            )
    if entry.kind == kinds.TERMINATING:
        for service in entry.content.get("Services", ()):
            yield replace(
                base,
                service=service.get("Name", ""),
                ca_file=service.get("CAFile", ""),
                cert_file=service.get("CertFile", ""),
                key_file=service.get("KeyFile", ""),
                sni=service.get("SNI", ""),
            )


def _expanded(
    graph: Graph, linked: list[GatewayService], names: list[tuple[str, bool]]
) -> Iterator[GatewayService]:
    named = {(one.service, one.port) for one in linked}
    for one in linked:
        if one.service != WILDCARD:
            yield one
            continue
        for name, in_mesh in names:
            if (name, one.port) in named or not _fits(graph, one, name):
                continue
            if in_mesh and one.kind == kinds.TERMINATING:
                continue  # it can be reached without leaving the mesh
            yield replace(one, service=name, from_wildcard=True)


def _fits(graph: Graph, one: GatewayService, service: str) -> bool:
    """Whether a wildcard stands for a service: an ingress listener carries one protocol."""
    if one.kind != kinds.INGRESS:
        return True
    own = graph.content(kinds.SERVICE_DEFAULTS, service)
    proxy = graph.content(kinds.PROXY_DEFAULTS, "global")
    return protocol_of(own, proxy) == one.protocol


def ingresses_of(graph: Graph, entries: Listing, service: str) -> tuple[str, ...]:
    """The ingress gateways that expose a service."""
    found: dict[str, None] = {}
    for entry in entries(kinds.INGRESS):
        for one in _linked(entry):
            exact = one.service.lower() == service.lower()
            if exact or (one.service == WILDCARD and _fits(graph, one, service)):
                found[entry.name] = None
    return tuple(found)
