"""Follows, for each proxy that asks, what it must be told: one feed per proxy.

Decides nothing about what is told (`feed`, `upstreams`): it asks the state with blocking queries,
puts what comes into the feed, and wakes whoever holds a request. A proxy that does not ask any more
is forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import secrets
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from agent.backend import Backend
from agent.backend.acting import ACTING
from agent.connect import implicit, ingress, terminating, upstreams
from agent.connect.feed import ALWAYS, Delta, Feed, Standing
from agent.connect.follower import Follower, unknown
from agent.connect.following import Following, Leaves
from agent.connect.upstreams import EndpointView
from agent.errors import RequestError
from raftstore.definition_queries import GetConfigEntry, ListConfigEntries
from raftstore.dns_queries import ListVirtualAddresses
from raftstore.mesh_queries import DiscoveryChain, GatewayServices
from raftstore.queries import GetCARoots, HealthEntry, HealthService, MatchIntentions, Query
from raftstore.records import ExposePath, Json, Service, ServiceId, ServiceName
from raftstore.revocations import ListRevocations

log = logging.getLogger("lictor.agent.connect.feeds")

#: Proxies that are followed at once, and seconds after which one that does not ask is forgotten.
IDLE_MAX_S = 900.0
#: What comes at once is told at once: seconds for which a change waits for others.
GATHER_S = 0.005
GATEWAYS = frozenset({ingress.KIND, terminating.KIND})
PROXY_KINDS = frozenset({"connect-proxy", *GATEWAYS})


class Local(Protocol):
    """What runs on this host."""

    def services(self) -> Mapping[ServiceId, Service]: ...
    def exposed_paths(self, proxy_id: ServiceId) -> tuple[ExposePath, ...]: ...
    def watch_once(self, callback: Callable[[], None]) -> Callable[[], None]: ...


#: Makes of a subset's filter what says whether an instance is in it. Raises RequestError.
MakeFilter = Callable[[str], Callable[[HealthEntry], bool]]


@dataclass(slots=True)
class FeedStats:
    """Counters since start, and what is followed."""

    proxies_current: int = 0
    told: int = 0
    accepted: int = 0
    rejected: int = 0
    rejected_current: int = 0


class Feeds:
    """The feeds of all proxies of this agent; see ``next``."""

    def __init__(
        self,
        backend: Backend,
        *,
        datacenter: str,
        leaves: Leaves,
        local: Local,
        make_filter: MakeFilter,
        rng: random.Random,
        clock: Callable[[], float] = time.time,
        token_of: Callable[[ServiceId], str] = lambda service_id: "",
        default_allow: bool = True,
        proxies_max: int = 1024,
        central: bool = True,
    ) -> None:
        """``token_of`` tells with whose rights servers are asked for a proxy; ``central``, whether
        the defaults of config entries count."""
        self._central = central
        self._following = Following(backend, leaves, rng)
        self._datacenter = datacenter
        self._local = local
        self._make_filter = make_filter
        self._clock = clock
        self._token_of = token_of
        self._default_allow = default_allow
        self._proxies_max = proxies_max
        self._followers: dict[str, Follower] = {}
        self._stats = FeedStats()

    def stats(self) -> FeedStats:
        """The counters as they stand."""
        self._stats.proxies_current = len(self._followers)
        self._stats.rejected_current = sum(
            1 for one in self._followers.values() if one.feed.standing().rejected
        )
        return self._stats

    def standings(self) -> dict[str, Standing]:
        """What is known of each proxy."""
        return {name: one.feed.standing() for name, one in sorted(self._followers.items())}

    async def next(self, proxy_id: str, version: str, wait_s: float) -> Delta:
        """What a proxy must be told beyond a version; held until there is something or ``wait_s``
        has passed. Raises RequestError for a proxy that is not registered here."""
        follower = self._follower(proxy_id)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while True:
            follower.feed.asked_at = self._clock()
            if follower.gone:
                raise unknown(proxy_id)
            if follower.feed.is_news(version):
                self._stats.told += 1
                return follower.feed.since(version)
            if loop.time() >= deadline:
                return follower.feed.since(version)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await follower.news.wait()
                await asyncio.sleep(GATHER_S)

    def heard(self, proxy_id: str, version: str, reason: str, admin_port: int = 0) -> bool:
        """What a proxy made of a version: "" that it works by it, else why it cannot; and where it
        tells its metrics.

        False for a proxy or a version that is not known here.
        """
        follower = self._followers.get(proxy_id)
        if follower is None:
            return False
        follower.feed.admin_port = admin_port
        if not reason:
            self._stats.accepted += 1
            return follower.feed.accept(version, self._clock())
        self._stats.rejected += 1
        log.warning(
            "proxy refuses what it was told proxy=%s version=%s reason=%s",
            proxy_id, version, reason[:200],
        )  # fmt: skip
        return follower.feed.reject(version, reason, self._clock())

    def explain(self) -> Json:
        """For each proxy what it was told, what it works by, and why not if it refuses it."""
        return {
            name: {
                "Version": found.version,
                "Missing": list(found.missing),
                "Accepted": found.accepted,
                "Rejected": found.rejected,
                "Reason": found.reason,
                "Resources": sorted(self._followers[name].feed.resources),
                "Follows": sorted(self._followers[name].tasks),
            }
            for name, found in self.standings().items()
        }

    async def close(self) -> None:
        """Forget everything."""
        for name in list(self._followers):
            await self._forget(name)

    # One proxy

    def _follower(self, proxy_id: str) -> Follower:
        follower = self._followers.get(proxy_id)
        if follower is not None:
            return follower
        if terminating.registration(self._local.services(), proxy_id) is None:
            raise unknown(proxy_id)
        if len(self._followers) >= self._proxies_max:
            raise RequestError(429, f"this agent follows {self._proxies_max} proxies already")
        follower = Follower(proxy_id, Feed(secrets.token_hex(8)))
        self._followers[proxy_id] = follower
        self._registered(follower)
        follower.owner.spawn(self._expire(follower), name=f"feed {proxy_id}")
        return follower

    async def _expire(self, follower: Follower) -> None:
        """Forget a proxy that does not ask any more."""
        while True:
            await asyncio.sleep(IDLE_MAX_S / 4)
            if (follower.feed.asked_at or 0.0) + IDLE_MAX_S <= self._clock():
                break
        self._followers.pop(follower.proxy_id, None)
        self._end(follower)

    async def _forget(self, proxy_id: str) -> None:
        follower = self._followers.pop(proxy_id)
        self._end(follower)
        await follower.owner.close()

    @staticmethod
    def _end(follower: Follower) -> None:
        follower.gone = True
        follower.cancel_local()
        for _, task in follower.tasks.values():
            task.cancel()
        follower.publish()

    def _registered(self, follower: Follower) -> None:
        """Take the registration as it is now, and look again when anything local changes."""
        if follower.gone:
            return
        follower.cancel_local = self._local.watch_once(lambda: self._registered(follower))
        found = terminating.registration(self._local.services(), follower.proxy_id)
        service = ingress.named(found)
        if service is None or service.kind not in PROXY_KINDS:
            self._followers.pop(follower.proxy_id, None)
            self._end(follower)
            return
        exposed = self._local.exposed_paths(service.id)
        if service != follower.service or exposed != follower.exposed:
            follower.service, follower.exposed = service, exposed
            self._reconcile(follower)

    def _reconcile(self, follower: Follower) -> None:
        """Follow what the proxy needs and nothing else, and make of it what it is told."""
        service = follower.service
        assert service is not None
        wanted = self._wanted(follower, service)
        for name in [name for name in follower.tasks if name not in wanted]:
            follower.tasks.pop(name)[1].cancel()
        for name, (what, work) in wanted.items():
            held = follower.tasks.get(name)
            if held is None or held[0] != what:
                if held is not None:
                    held[1].cancel()
                task = follower.owner.spawn(
                    self._as_proxy(follower, work), name=f"feed {follower.proxy_id} {name}"
                )
                follower.tasks[name] = (what, task)
        self._tell(follower)

    def _wanted(
        self, follower: Follower, service: Service
    ) -> dict[str, tuple[object, Callable[[], Coroutine[Any, Any, None]]]]:
        """The name of each thing that is followed, what it depends on, and the work."""
        own = ServiceName(service.proxy.destination_service_name)
        transparent = upstreams.is_transparent(service, follower.defaults)
        service = self._extended(follower, service)
        queries: dict[str, tuple[Query[Any], Callable[[Any], None]]] = {}

        def follow(name: str, query: Query[Any], take: Callable[[Any], None]) -> None:
            queries[name] = (query, take)

        for name, query in (("roots", GetCARoots()), ("revocations", ListRevocations())):
            follow(name, query, functools.partial(self._put, follower, name))
        follow(
            "intentions",
            MatchIntentions("destination", (own,)),
            lambda value: self._put(follower, "intentions", value.get(own, ())),
        )
        if transparent:
            virtual = self._keeper(follower, "virtual", implicit.addresses)
            follow("virtual addresses", ListVirtualAddresses(), virtual)
            allowed = self._keeper(follower, "allowed", lambda found: tuple(found.get(own, ())))
            follow("allowed", MatchIntentions("source", (own,)), allowed)
        for kept, asked in _of_gateway(service):
            follow(kept, asked, self._keeper(follower, kept, tuple))
        defaults = upstreams.defaults_of(service, central=self._central)
        for kind, name in (*defaults, *terminating.entry_of(service)):
            follow(f"entry {kind}/{name}", GetConfigEntry(kind, name),
                   self._default_taker(follower, f"{kind}/{name}"))  # fmt: skip
        for provider in upstreams.providers_of(follower.feed.resources.get("intentions", ())):
            follow(
                f"jwt/{provider}",
                GetConfigEntry("jwt-provider", provider),
                functools.partial(self._put_entry, follower, f"jwt/{provider}"),
            )
        for upstream in upstreams.of(service, follower.defaults):
            follow(
                f"chain/{upstream.key}",
                DiscoveryChain(
                    service=ServiceName(upstream.name),
                    datacenter=self._datacenter,
                    protocol=upstream.protocol_override,
                    connect_timeout_ns=upstream.connect_timeout_override_ns,
                ),
                self._chain_taker(follower, upstream.key),
            )
        targets = upstreams.services_of(follower.chains.values(), self._datacenter)
        for target in targets:
            follow(
                f"instances {target}",
                HealthService(service=ServiceName(target), connect=True),
                self._instance_taker(follower, follower.instances, target),
            )
        if targets:
            gateways = self._keeper(follower, "gateways", tuple)
            follow("terminating gateways", ListConfigEntries(terminating.KIND), gateways)
        for name in terminating.dialled(follower.gateways or (), targets):
            taker = self._instance_taker(follower, follower.gateway_instances, name)
            follow(f"gateway {name}", HealthService(service=ServiceName(name)), taker)
        wanted: dict[str, tuple[object, Callable[[], Coroutine[Any, Any, None]]]] = {
            name: (query, functools.partial(self._following.answers, name, query, take))
            for name, (query, take) in queries.items()
        }
        leaf = functools.partial(self._put, follower, "leaf")
        wanted["leaf"] = (own, functools.partial(self._following.leaf, own, leaf))
        return wanted

    def _extended(self, follower: Follower, service: Service) -> Service:
        """The registration with the upstreams that a transparent proxy need not name."""
        if service.kind == ingress.KIND:
            return ingress.extended(service, follower.defaults, follower.linked)
        if follower.allowed is None or not upstreams.is_transparent(service, follower.defaults):
            return service
        own, held = service.proxy.destination_service_name, follower.virtual
        names = implicit.reachable(own, follower.allowed, held, default_allow=self._default_allow)
        return implicit.extended(service, names)

    def _keeper(
        self, follower: Follower, name: str, make: Callable[[Any], object]
    ) -> Callable[[Any], None]:
        def take(value: Any) -> None:
            setattr(follower, name, make(value))
            self._reconcile(follower)

        return take

    def _default_taker(self, follower: Follower, name: str) -> Callable[[Any], None]:
        def take(value: Any) -> None:
            follower.defaults[name] = {} if value is None else value.content
            self._reconcile(follower)

        return take

    def _chain_taker(self, follower: Follower, key: str) -> Callable[[Any], None]:
        def take(value: Any) -> None:
            if value.problem:
                log.error("chain cannot be compiled upstream=%s error=%s", key, value.problem)
                return  # what was known stays in force
            follower.chains[key] = value.chain
            self._reconcile(follower)

        return take

    def _instance_taker(
        self, follower: Follower, instances: dict[str, tuple[HealthEntry, ...]], service: str
    ) -> Callable[[Any], None]:
        def take(value: Any) -> None:
            instances[service] = value
            self._tell(follower)

        return take

    def _put_entry(self, follower: Follower, name: str, entry: Any) -> None:
        self._put(follower, name, None if entry is None else entry.content)

    def _put(self, follower: Follower, name: str, value: Any) -> None:
        if not follower.feed.set(name, value):
            return
        if name == "intentions":
            self._reconcile(follower)  # they may ask for tokens of other providers
        follower.publish()

    def _tell(self, follower: Follower) -> None:
        """Make the resources that come from several answers, and drop what nobody needs."""
        service = follower.service
        assert service is not None
        feed, before = follower.feed, follower.feed.version
        service = self._extended(follower, service)
        mine = tuple(
            replace(one, virtual_ip=follower.virtual.get(one.name.lower(), ""))
            for one in upstreams.of(service, follower.defaults)
        )
        chains = {one.key: follower.chains[one.key] for one in mine if one.key in follower.chains}
        follower.chains = chains
        made: dict[str, Any] = {
            "proxy": upstreams.proxy_of(service, follower.defaults, follower.exposed),
            "mesh": follower.defaults.get("mesh/mesh", {}),
            **ingress.told(service, follower.defaults, follower.linked),
            **terminating.told(
                service,
                follower.defaults,
                follower.linked,
                follower.places,
                resolvers=follower.resolvers,
                matching=functools.partial(self._matching, service.id),
            ),
            **{f"upstream/{one.key}": one for one in mine},
            **{f"chain/{key}": chain for key, chain in chains.items()},
        }
        needed = upstreams.services_of(chains.values(), self._datacenter)
        for name in follower.instances.keys() - needed:
            del follower.instances[name]
        targets = upstreams.targets_of(chains.values())
        for target_id, target in targets.items():
            if target["Datacenter"] != self._datacenter:
                made[f"endpoints/{target_id}"] = ()
            elif (found := self._endpoints(follower, target)) is not None:
                made[f"endpoints/{target_id}"] = found
        providers = upstreams.providers_of(feed.resources.get("intentions", ()))
        feed.want([
            *ALWAYS, *ingress.resources(service), *terminating.resources(service),
            *(f"jwt/{name}" for name in providers),
            *(f"upstream/{one.key}" for one in mine),
            *(f"chain/{one.key}" for one in mine),
            *(f"endpoints/{target_id}" for target_id in targets),
        ])  # fmt: skip
        for name, value in made.items():
            feed.set(name, value)
        if feed.version != before:
            follower.publish()

    def _endpoints(
        self, follower: Follower, target: Mapping[str, Any]
    ) -> tuple[EndpointView, ...] | None:
        """Whom to dial for a target, None while that is not known."""
        found, gateways = follower.instances.get(target["Service"]), follower.gateways
        if found is None or gateways is None:
            return None
        known = follower.gateway_instances
        beside = terminating.standing_for(target, gateways, known, in_mesh=bool(found))
        if beside is None:
            return None
        subset = target.get("Subset") or {}
        kept = self._matching(target["ID"], str(subset.get("Filter") or ""), found)
        return upstreams.endpoints(kept, only_passing=bool(subset.get("OnlyPassing"))) + beside

    def _matching(
        self, what: str, text: str, found: tuple[HealthEntry, ...]
    ) -> tuple[HealthEntry, ...]:
        """Those that the filter of a subset lets through; nobody where it cannot be used."""
        if not text:
            return found
        try:
            fits = self._make_filter(text)
        except RequestError as error:
            log.error("filter of a subset cannot be used target=%s error=%s", what, error)
            return ()
        return tuple(entry for entry in found if fits(entry))

    # Following

    async def _as_proxy(
        self, follower: Follower, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """With the token of the registration, whoever's request it was that began the work."""
        owner = terminating.owner_of(self._local.services(), follower.proxy_id)
        ACTING.set(self._token_of(owner) or ACTING.get())
        await work()


def _of_gateway(service: Service) -> Iterator[tuple[str, Query[Any]]]:
    """What a gateway, or a service behind one, follows beside what every proxy does; each under
    the name of the field of Follower that keeps it."""
    if service.kind in GATEWAYS and not terminating.is_linked(service):
        yield "linked", GatewayServices(service.name)
    elif service.kind == terminating.KIND:
        yield "places", HealthService(service=ServiceName(service.proxy.destination_service_name))
    for _ in terminating.lists(service):
        yield "resolvers", ListConfigEntries(terminating.RESOLVERS)
