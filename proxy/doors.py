"""Listeners that a proxy has beside its public one and those of its upstreams.

Exposed paths in clear, and the one that a transparent proxy is led to. Decides nothing about a
connection: `transparent` says where it goes, `l7.exposed` what of it passes.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from typing import Protocol

from proxy import transparent
from proxy.config import ProxyConfig
from proxy.l7.ingress import IngressListener
from proxy.listeners import Listener, ListenOn
from proxy.prefaced import Prefaced
from proxy.redirected import Redirected
from proxy.source import Endpoint, ExposedPath, MeshState, OwnService, UpstreamSpec
from proxy.transparent import PassOn, Refuse, ToInstance, ToUpstream

Made = tuple[ListenOn, Callable[[], asyncio.Protocol]]
TRANSPARENT = "transparent"


class House(Protocol):
    """The proxy that the doors belong to."""

    config: ProxyConfig

    def accept_outbound(self, upstream: UpstreamSpec, source: str = "") -> asyncio.Protocol: ...
    def accept_direct(self, upstream: UpstreamSpec, endpoint: Endpoint) -> asyncio.Protocol: ...
    def accept_passing(self, address: str, port: int) -> asyncio.Protocol: ...
    def accept_exposed(self, exposed: ExposedPath) -> asyncio.Protocol: ...
    def accept_ingress(self, door: IngressListener) -> asyncio.Protocol: ...
    def refuse(self, reason: str) -> asyncio.Protocol: ...


class Doors:
    """What to listen on by a state, and what to do with whoever comes."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._destinations = transparent.Destinations()
        self._own: OwnService | None = None

    def update(self, state: MeshState, listeners: Mapping[str, Listener]) -> None:
        """Work by this state. Nobody is led to our own listeners by name of their address."""
        listens = [
            (each.on.address, each.port or each.on.port)
            for each in listeners.values()
            if not each.on.socket_path
        ]
        self._own = state.own
        self._destinations = transparent.destinations(state, listens)

    def wanted(self, state: MeshState) -> dict[str, Made]:
        """The listeners by name."""
        found: dict[str, Made] = {}
        if state.own is None:
            return found
        for each in state.own.exposed:
            on = ListenOn(address=state.own.listen_address, port=each.listener_port)
            accept = functools.partial(self._house.accept_exposed, each)
            found[f"exposed:{each.listener_port}"] = (on, accept)
        for door in state.own.ingress:
            on = ListenOn(address=state.own.listen_address, port=door.port)
            come = functools.partial(self._from_outside, door.port)
            found[f"ingress:{door.port}"] = (on, come)
        led = state.own.transparent
        if led is not None:
            found[TRANSPARENT] = (
                ListenOn(address=led.address, port=led.port),
                lambda: Redirected(self._choose),
            )
        return found

    def _from_outside(self, port: int) -> asyncio.Protocol:
        """A connection to an ingress gateway: bytes go to the one service, requests by host."""
        own = self._own
        door = next((each for each in own.ingress if each.port == port), None) if own else None
        if own is None or door is None:
            return self._house.refuse("no_service")
        if door.protocol != "tcp":
            return self._house.accept_ingress(door)
        names = {each.name for each in door.services}
        found = next((each for each in own.upstreams if each.name in names), None)
        return self._house.accept_outbound(found) if found else self._house.refuse("no_service")

    def _choose(self, address: str, port: int) -> asyncio.Protocol:
        house = self._house
        match self._destinations.way(address, port):
            case ToUpstream(upstream):
                return house.accept_outbound(upstream)
            case ToInstance(upstream, endpoint):
                return house.accept_direct(upstream, endpoint)
            case PassOn():
                return house.accept_passing(address, port)
            case Refuse(reason):
                return house.refuse(reason)

    def prefaced(self, upstream: UpstreamSpec, mode: str) -> asyncio.Protocol:
        """For an upstream whose connections say who they come from."""

        def refused(reason: str) -> None:
            del reason
            self._house.refuse("bad_proxy_header")

        return Prefaced(
            lambda source: self._house.accept_outbound(upstream, source),
            required=mode == "require",
            refused=refused,
        )


class Refused(asyncio.Protocol):
    """Closes at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def listen_on(upstream: UpstreamSpec) -> ListenOn:
    """Where an upstream's own listener stands."""
    if upstream.socket_path:
        return ListenOn(socket_path=upstream.socket_path, socket_mode=upstream.socket_mode)
    return ListenOn(address=upstream.bind_address, port=max(upstream.bind_port, 0))


def is_told(state: MeshState) -> bool:
    """Whether enough was told to serve what is registered."""
    own, told = state.own, state.endpoints
    return own is not None and all(each.key in told for each in own.upstreams)
