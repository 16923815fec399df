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
from proxy.listeners import Listener, ListenOn
from proxy.prefaced import Prefaced
from proxy.redirected import Redirected
from proxy.source import Endpoint, ExposedPath, MeshState, UpstreamSpec
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
    def refuse(self, reason: str) -> asyncio.Protocol: ...


class Doors:
    """What to listen on by a state, and what to do with whoever comes."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._destinations = transparent.Destinations()

    def update(self, state: MeshState, listeners: Mapping[str, Listener]) -> None:
        """Work by this state. Nobody is led to our own listeners by name of their address."""
        listens = [
            (each.on.address, each.port or each.on.port)
            for each in listeners.values()
            if not each.on.socket_path
        ]
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
        led = state.own.transparent
        if led is not None:
            found[TRANSPARENT] = (
                ListenOn(address=led.address, port=led.port),
                lambda: Redirected(self._choose),
            )
        return found

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
