"""Listeners that a proxy has beside its public one and those of its upstreams.

Exposed paths in clear, and the one that a transparent proxy is led to. Decides nothing about a
connection: `transparent` says where it goes, `l7.exposed` what of it passes.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from proxy import client_hello, permissive, terminating, transparent
from proxy.client_hello import NoHello
from proxy.config import ProxyConfig
from proxy.errors import TlsMaterialError
from proxy.front import Front, Fronts
from proxy.l7.ingress import IngressListener
from proxy.l7.settings import UpstreamSettings
from proxy.listeners import Listener, ListenOn
from proxy.peeked import Peeked
from proxy.permissive import Way
from proxy.porch import Porch
from proxy.prefaced import Prefaced
from proxy.redirected import Redirected, has_loopback_6, original
from proxy.relay import TlsStream
from proxy.source import AppAddress, Endpoint, ExposedPath, MeshState, OwnService, UpstreamSpec
from proxy.telemetry.connections import HandshakeMetrics
from proxy.transparent import PassOn, Refuse, ToInstance, ToUpstream

Made = tuple[ListenOn, Callable[[], asyncio.Protocol]]
TRANSPARENT = "transparent"
#: What is led over IPv6 comes to the loopback address there.
TRANSPARENT_6 = "transparent-ipv6"
LINKED = "linked"


class House(Protocol):
    """The proxy that the doors belong to."""

    config: ProxyConfig
    handshakes: HandshakeMetrics

    def accept_outbound(
        self, upstream: UpstreamSpec, source: str = "", secured: TlsStream | None = None
    ) -> asyncio.Protocol: ...
    def accept_direct(self, upstream: UpstreamSpec, endpoint: Endpoint) -> asyncio.Protocol: ...
    def accept_passing(self, to: AppAddress, *, permitted: bool = False) -> asyncio.Protocol: ...
    def accept_exposed(self, exposed: ExposedPath) -> asyncio.Protocol: ...
    def accept_ingress(
        self, door: IngressListener, secured: TlsStream | None
    ) -> asyncio.Protocol: ...

    porch: Porch

    def why_not(self) -> str: ...
    def accept_inbound(self) -> asyncio.Protocol: ...
    def accept_linked(self, service: str) -> asyncio.Protocol: ...
    def refuse(self, reason: str, secured: TlsStream | None = None) -> asyncio.Protocol: ...
    def unsecured(self, reason: str) -> None: ...


class Wing(Protocol):
    """The proxies of the services that a gateway stands for."""

    @property
    def ready(self) -> bool: ...

    def accept(self, service: str) -> asyncio.Protocol | None: ...
    def metrics(self, own: str) -> str: ...
    def explain(self) -> dict[str, Any]: ...


class Doors:
    """What to listen on by a state, and what to do with whoever comes."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._destinations = transparent.Destinations()
        self._own: OwnService | None = None
        self._suffix = ""
        self._fronts = Fronts()
        self._settings: Mapping[str, UpstreamSettings] = {}

    def update(self, state: MeshState, listeners: Mapping[str, Listener]) -> None:
        """Work by this state. Nobody is led to our own listeners by name of their address."""
        listens = [
            (each.on.address, each.port or each.on.port)
            for each in listeners.values()
            if not each.on.socket_path
        ]
        self._fronts.update(state.leaf)
        self._own, self._settings = state.own, state.settings
        self._suffix = terminating.suffix(state.datacenter, state.trust_domain)
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
        if state.own.linked_port:
            on = ListenOn(address=state.own.listen_address, port=max(state.own.linked_port, 0))
            found[LINKED] = (on, self._from_the_mesh)
        led = state.own.transparent
        if led is not None:
            come_led = functools.partial(Redirected, self._choose)
            found[TRANSPARENT] = (ListenOn(address=led.address, port=led.port), come_led)
            if has_loopback_6():
                found[TRANSPARENT_6] = (ListenOn(address="::1", port=led.port), come_led)
        return found

    def _from_outside(self, port: int) -> asyncio.Protocol:
        """A connection to an ingress gateway: bytes go to the one service, requests by host."""
        own = self._own
        door = next((each for each in own.ingress if each.port == port), None) if own else None
        if own is None or door is None:
            return self._house.refuse("no_service")
        if door.tls is None:
            return self._let_in(door, None)
        try:
            context = self._fronts.context(door.tls, door.protocol)
        except TlsMaterialError:
            return self._house.refuse("no_certificate")
        return self._house.porch.step(functools.partial(self._greet, door, context))

    def _greet(
        self, door: IngressListener, context: ssl.SSLContext, first: bytes
    ) -> asyncio.Protocol:
        take = functools.partial(self._let_in, door)
        stream = Front(self._house.config, context, take, self._house.unsecured).stream
        stream.greetings = self._house.handshakes.inbound
        return stream

    def _let_in(self, door: IngressListener, secured: TlsStream | None) -> asyncio.Protocol:
        if door.protocol != "tcp":
            return self._house.accept_ingress(door, secured)
        names = {each.name for each in door.services}
        upstreams = self._own.upstreams if self._own is not None else ()
        found = next((each for each in upstreams if each.name in names), None)
        if found is None:
            return self._house.refuse("no_service", secured)
        return self._house.accept_outbound(found, secured=secured)

    def _from_the_mesh(self) -> asyncio.Protocol:
        """A connection to a terminating gateway: its handshake says which service it is for."""
        return self._house.porch.step(self._linked)

    def _linked(self, first: bytes) -> asyncio.Protocol | None:
        try:
            name = client_hello.server_name(first)
        except NoHello:
            return self._house.refuse("not_tls")
        services = self._own.linked if self._own is not None else ()
        if name is None:
            return None
        return self._house.accept_linked(terminating.service_of(name, services, self._suffix))

    def come_in(self) -> asyncio.Protocol:
        """A connection at the public listener."""
        own = self._own
        if own is None or not own.permissive or own.transparent is None:
            return self._meet()
        return Peeked(
            functools.partial(self._permit, own.app),
            late=functools.partial(self._permit, own.app, late=True),
            timeout_s=permissive.SILENT_S,
        )

    def _permit(
        self, app: AppAddress, first: bytes, transport: asyncio.Transport, *, late: bool = False
    ) -> asyncio.Protocol | None:
        meant = original(transport.get_extra_info("socket"))
        port = meant[1] if meant is not None else 0
        match permissive.way(first, meant_port=port, app_port=app.port, late=late):
            case Way.WAIT:
                return None
            case Way.CLEAR:
                return self._house.accept_passing(app, permitted=True)
            case Way.TLS:
                return self._meet()

    def _meet(self) -> asyncio.Protocol:
        """Somebody of the mesh, who has to show it first."""
        why_not = self._house.why_not()
        if why_not:
            return self._house.refuse(why_not)
        return self._house.porch.step(lambda _: self._house.accept_inbound())

    def _choose(self, address: str, port: int) -> asyncio.Protocol:
        house = self._house
        match self._destinations.way(address, port):
            case ToUpstream(upstream):
                return house.accept_outbound(upstream)
            case ToInstance(upstream, endpoint):
                return house.accept_direct(upstream, endpoint)
            case PassOn():
                return house.accept_passing(AppAddress(address, port))
            case Refuse(reason):
                return house.refuse(reason)

    def enter(self, upstream: UpstreamSpec) -> asyncio.Protocol:
        """The first protocol of a connection at an upstream's listener: it may say in a header who
        it comes from."""
        settings = self._settings.get(upstream.key)
        mode = settings.proxy_protocol if settings is not None else ""
        if not mode:
            return self._house.accept_outbound(upstream)

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


def opens(config: ProxyConfig, upstream: UpstreamSpec) -> bool:
    """Whether this of several workers opens an upstream's listener: unix sockets are not shared."""
    return not (upstream.socket_path and config.worker)


def is_told(state: MeshState) -> bool:
    """Whether enough was told to serve what is registered."""
    own, told = state.own, state.endpoints
    return own is not None and all(each.key in told for each in own.upstreams)
