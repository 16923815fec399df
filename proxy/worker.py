"""A whole sidecar process: one event loop, one proxy, signals.

Decides nothing about traffic. SIGTERM drains and exits 0 (a second one exits at once), SIGINT exits
at once. A child of an agent ends with its parent when it is told the parent's process id.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import logging
import os
import random
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import uvloop

from proxy import admin, heap
from proxy.agent_api import find_gateway, find_sidecar, has_feed
from proxy.config import ProxyConfig
from proxy.errors import SourceError
from proxy.feed_source import FeedSource
from proxy.handover import Handover, Superseded, take
from proxy.jwt import Jose
from proxy.permissions import FullMatch, no_patterns
from proxy.server import Proxy
from proxy.source import AppAddress, OwnService, UpstreamSpec
from proxy.waiting import set_within
from proxy.workers import HANDED_OVER, Place, supervise

if TYPE_CHECKING:
    from proxy.api_source import ApiSource
    from proxy.linked import Linked

log = logging.getLogger("lictor.proxy.worker")

_PR_SET_PDEATHSIG = 1  # prctl(2)
_PARENT_CHECK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyOptions:
    """What `connect proxy` was told. Exactly one of ``sidecar_for``, ``proxy_id`` and ``service``.

    ``service_addr`` is the local application ("host:port"), ``listen`` the public listener
    ("host:port" or ":port"), ``upstreams`` are (service, local port). ``parent_pid`` of 0: on its
    own.
    """

    http_addr: str = "127.0.0.1:8500"
    token: str = ""
    sidecar_for: str = ""
    proxy_id: str = ""
    service: str = ""
    #: The kind of gateway to be, with ``service`` as its name; "" for a sidecar.
    gateway: str = ""
    service_addr: str = ""
    listen: str = ""
    upstreams: tuple[tuple[str, int], ...] = ()
    drain_s: float | None = None
    parent_pid: int = 0
    #: How long it goes on without its parent, for a successor to take over.
    outlives_s: float = 0.0
    bind_address: str = ""
    config: ProxyConfig = field(default_factory=ProxyConfig)
    #: How patterns of intentions and routes are matched, in bounded time.
    full_match: FullMatch = no_patterns
    #: Who verifies tokens of requests.
    jose: Jose | None = None
    #: Modules to load when the agent's feed has these bytes: see `FeedSource`.
    late: Mapping[bytes, str] = field(default_factory=dict)
    #: The listener for metrics, "address:port"; "" for the usual one, "off" for none.
    admin_bind: str = ""
    #: A unix socket at which one process gives its listeners to the next; "" for none.
    handover: str = ""
    #: Our place in the order in which such processes are started; 0 for none.
    order: int = 0
    #: Which of several workers it is; None: the only one.
    place: Place | None = None


def main_proxy(options: ProxyOptions) -> int:
    """Run a proxy on uvloop until it is told to stop; the exit code."""
    heap.settle()
    if options.config.workers > 1 and options.place is None:
        return _main_workers(options)
    if options.parent_pid and not options.outlives_s and not _die_with(options.parent_pid):
        return 0
    silent = options.place is not None and options.place.index > 0
    return int(uvloop.run(run_proxy(options, say=_silence if silent else print)))


def _silence(text: str) -> None:
    """One of several workers speaks for all."""


def _main_workers(options: ProxyOptions) -> int:
    """Run several processes that share the ports of one proxy."""
    if options.parent_pid and not options.outlives_s and not _die_with(options.parent_pid):
        return 0
    bind, count, ours = options.admin_bind, options.config.workers, os.getpid()
    if bind == "off":
        admin_at = None
    else:
        admin_at = _host_port(bind, "-admin-bind") if bind else ("127.0.0.1", admin.PORT)

    def run(place: Place) -> int:
        most = max(1, options.config.connections_max // count)
        config = replace(options.config, worker=place.index, connections_max=most)
        # The first one's is that of a proxy that is alone: their number may change in between.
        path = options.handover
        if path and place.index:
            path = f"{path}.{place.index}"
        one = replace(
            options, config=config, place=place, handover=path, parent_pid=ours, outlives_s=0.0
        )
        return main_proxy(one)

    return supervise(
        count, run, admin=admin_at, parent_pid=options.parent_pid, outlives_s=options.outlives_s
    )


async def run_proxy(options: ProxyOptions, *, say: Callable[[str], None] = print) -> int:
    """Run a proxy until a signal; the exit code. Start-up mistakes are one line and code 1."""
    say("==> Consul Connect proxy starting...")
    try:
        source = await _source(options, say)
    except SourceError as error:
        print(str(error), file=sys.stderr)
        return 1
    config = options.config
    if options.drain_s is not None:
        config = replace(config, drain_timeout_s=options.drain_s)
    stop, handed = _Stop(), False
    proxy = Proxy(
        source, config, rng=random.Random(), full_match=options.full_match, jose=options.jose
    )
    say("")
    say("==> Log data will now stream in as it occurs:")
    say("")
    sys.stdout.flush()
    try:
        heirs = await _take_over(options, proxy, stop)
    except Superseded as error:
        log.info("not needed: %s", error)
        await source.close()
        stop.close()
        return _handed_over(options)
    linked = _linked(options, source, proxy)
    await source.start()
    await proxy.start()
    await _open_admin(proxy, source, options)
    try:
        handed = await _until_told(stop, heirs, proxy, options)
        if handed:
            await stop.unless_again(_drain(proxy, linked, 0.0))
        elif stop.gracefully:
            # With the agent gone there is nobody to take us out of health first, and a new agent's
            # sidecar wants the port: close the listeners at once.
            orphan = bool(options.parent_pid) and os.getppid() != options.parent_pid
            grace_s = 0.0 if orphan else config.drain_grace_s
            log.info("draining grace_s=%g timeout_s=%g", grace_s, config.drain_timeout_s)
            await stop.unless_again(_drain(proxy, linked, grace_s))
    finally:
        await proxy.close()
        if linked is not None:
            await linked.close()
        await source.close()
        stop.close()
        if heirs is not None:
            heirs.close()
    log.info("proxy stopped")
    return _handed_over(options) if handed else 0


def _handed_over(options: ProxyOptions) -> int:
    """The exit code of a process in whose place another one serves."""
    return HANDED_OVER if options.place is not None else 0


def _linked(options: ProxyOptions, source: ApiSource | FeedSource, proxy: Proxy) -> Linked | None:
    """The proxies of the services that a terminating gateway stands for."""
    if options.gateway != "terminating" or not isinstance(source, FeedSource):
        return None
    from proxy import terminating  # no sidecar needs these
    from proxy.linked import Linked

    def make(service: str) -> tuple[FeedSource, Proxy]:
        its = FeedSource(
            http_addr=options.http_addr,
            token=options.token,
            proxy_id=f"{source.proxy_id}{terminating.SEPARATOR}{service}",
        )
        return its, Proxy(
            its,
            proxy.config,
            rng=random.Random(),
            full_match=options.full_match,
            jose=options.jose,
        )

    made = proxy.wing = Linked(make)
    source.subscribe(made.update)
    return made


async def _drain(proxy: Proxy, linked: Linked | None, grace_s: float) -> None:
    await proxy.drain(grace_s=grace_s)
    if linked is not None:
        await linked.drain()


async def _take_over(options: ProxyOptions, proxy: Proxy, stop: _Stop) -> Handover | None:
    """Take the sockets of the process before us, if there is one. Raises Superseded."""
    path, order = options.handover, options.order
    if not path:
        return None
    ask = functools.partial(take, path, lambda: stop.told, order=order)
    proxy.inheritance = await asyncio.get_running_loop().run_in_executor(None, ask)
    return Handover(path, proxy.listeners, order=order)


async def _until_told(
    stop: _Stop, heirs: Handover | None, proxy: Proxy, options: ProxyOptions
) -> bool:
    """Until a signal comes, or a successor serves; whether it was that."""
    waiting = stop.wait(options.parent_pid, options.outlives_s)
    if heirs is None:
        await waiting
        return False
    loop = asyncio.get_running_loop()
    told = loop.create_task(waiting)
    served = loop.create_task(_serve_heirs(heirs, proxy))
    await asyncio.wait({told, served}, return_when=asyncio.FIRST_COMPLETED)
    for each in (told, served):
        each.cancel()
    await asyncio.gather(told, served, return_exceptions=True)
    return heirs.given


async def _serve_heirs(heirs: Handover, proxy: Proxy) -> None:
    while not proxy.serving:  # noqa: ASYNC110  (at the start only)
        await asyncio.sleep(0.02)
    inheritance, proxy.inheritance = proxy.inheritance, None
    try:
        heirs.open()
    except OSError as error:
        log.warning("nobody can take over from us error=%s", error)
        await asyncio.get_running_loop().create_future()
    finally:
        if inheritance is not None:
            inheritance.serving()
    await heirs.wait()


async def _open_admin(proxy: Proxy, source: ApiSource | FeedSource, options: ProxyOptions) -> None:
    bind = options.admin_bind
    if bind == "off":
        return
    host, port = _host_port(bind, "-admin-bind") if bind else ("127.0.0.1", admin.PORT)
    found = await proxy.open_admin(host, port, options.place)
    if isinstance(source, FeedSource):
        source.admin_port = found  # told to the agent with what it is answered anyway


async def _source(options: ProxyOptions, say: Callable[[str], None]) -> ApiSource | FeedSource:
    chosen = [bool(each) for each in (options.sidecar_for, options.proxy_id, options.service)]
    if sum(chosen) != 1:
        raise SourceError("one of -sidecar-for, -proxy-id and -service must be given")
    if options.service and not options.gateway:
        say("    Configuration mode: Flags")
        own = own_of_flags(options)
        say(f"               Service: {own.name}")
        for upstream in own.upstreams:
            say(f"              Upstream: {upstream.name} => {upstream.key}")
        if own.listen_port:
            say(f"       Public listener: {own.listen_address}:{own.listen_port} => "
                f"{own.app.address}:{own.app.port}")  # fmt: skip
        else:
            say("       Public listener: Disabled")
        from proxy.api_source import ApiSource  # few have no registration

        return ApiSource(http_addr=options.http_addr, token=options.token, own=own)
    proxy_id = options.proxy_id
    say("    Configuration mode: Agent API")
    if options.gateway:
        proxy_id = await find_gateway(
            options.http_addr, options.gateway, options.service, token=options.token
        )
    if options.sidecar_for:
        proxy_id = await find_sidecar(options.http_addr, options.sidecar_for, token=options.token)
        say(f"        Sidecar for ID: {options.sidecar_for}")
    say(f"              Proxy ID: {proxy_id}")
    if await has_feed(options.http_addr, token=options.token):
        return FeedSource(
            http_addr=options.http_addr,
            token=options.token,
            proxy_id=proxy_id,
            listen_address=options.bind_address,
            late=options.late,
        )
    # Agents of other makes have no feed: they are asked for each thing by itself, and then there
    # are connections only, no requests.
    from proxy.api_source import ApiSource

    return ApiSource(
        http_addr=options.http_addr,
        token=options.token,
        proxy_id=proxy_id,
        listen_address=options.bind_address,
    )


def own_of_flags(options: ProxyOptions) -> OwnService:
    """The service that plain flags describe. Raises SourceError for an address it cannot read."""
    listen_address, listen_port = "", 0
    app = AppAddress()
    if options.listen:
        listen_address, listen_port = _host_port(options.listen, "-listen")
        if not options.service_addr:
            raise SourceError("-service-addr must be set with -listen")
        app = AppAddress(*_host_port(options.service_addr, "-service-addr"))
    return OwnService(
        name=options.service,
        listen_address=listen_address or "0.0.0.0",  # noqa: S104  (":port" means every address)
        listen_port=listen_port,
        app=app,
        upstreams=tuple(
            UpstreamSpec(name=name, bind_port=port) for name, port in options.upstreams
        ),
    )


def _host_port(text: str, flag: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise SourceError(f'{flag} must be "address:port", not "{text}"')
    return host.strip("[]"), int(port)


class _Stop:
    """Signals, and a parent that is gone, as one event."""

    __slots__ = ("_again", "_event", "_loop", "gracefully")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._again = asyncio.Event()
        self.gracefully = False
        self._loop.add_signal_handler(signal.SIGTERM, self._terminated)
        self._loop.add_signal_handler(signal.SIGINT, self._interrupted)

    def _terminated(self) -> None:
        if self._event.is_set():
            self._again.set()
        self.gracefully = True
        self._event.set()

    def _interrupted(self) -> None:
        self.gracefully = False
        self._event.set()
        self._again.set()

    @property
    def told(self) -> bool:
        """Whether a signal has come."""
        return self._event.is_set()

    async def wait(self, parent_pid: int, outlives_s: float = 0.0) -> None:
        """Until a signal, or until the parent has been gone for so long."""
        while not self._event.is_set():
            if await set_within(self._event, _PARENT_CHECK_S if parent_pid else None):
                return
            if os.getppid() != parent_pid:
                log.warning(
                    "the agent is gone, stopping parent_pid=%d in_s=%g", parent_pid, outlives_s
                )
                if not outlives_s or not await set_within(self._event, outlives_s):
                    self.gracefully = True
                return

    async def unless_again(self, work: object) -> None:
        """Run until done, or until another signal."""
        task: asyncio.Task[None] = self._loop.create_task(work)  # type: ignore[arg-type]
        again = self._loop.create_task(self._again.wait())
        await asyncio.wait({task, again}, return_when=asyncio.FIRST_COMPLETED)
        for each in (task, again):
            each.cancel()
        await asyncio.gather(task, again, return_exceptions=True)

    def close(self) -> None:
        """Take the handlers away."""
        self._loop.remove_signal_handler(signal.SIGTERM)
        self._loop.remove_signal_handler(signal.SIGINT)


def _die_with(parent_pid: int) -> bool:
    """Have the kernel end us with our parent; False when it is gone already."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
            log.warning("cannot follow the agent's end errno=%d", ctypes.get_errno())
    return os.getppid() == parent_pid
