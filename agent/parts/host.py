"""What lives on this host: services and checks, their sidecars and leaves, the coordinate's way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.acl.agent_tokens import AgentTokens
from agent.backend import Backend
from agent.backend.cache import AnswerCache
from agent.backend.remote import RemoteBackend
from agent.config.schema import AgentConfig
from agent.connect import native, openssl_conf
from agent.connect.feeds import Feeds
from agent.connect.leaves import LeafCache
from agent.connect.live_clients import LiveClients
from agent.connect.sidecars import Sidecars, SidecarSpec
from agent.events.log import EventLog
from agent.gossiping import coordinate_sender
from agent.http.parse_config import subset_filter
from agent.local.agent import LocalAgent
from agent.local.coordinates import CoordinateSender
from agent.local.node import catalog_node, own_api, own_http, sidecar_address
from agent.local.remote_exec import RemoteExec
from agent.local.restores import follow_restores
from agent.local.watches import Watches
from agent.parts.ground import Ground
from agent.program import OF_SIDECARS, folders, looks
from gossip import Gossip
from raftstore.records import ServiceId

if TYPE_CHECKING:
    from agent.backend.local import LocalBackend


class HostParts:
    """Of every agent, server or not."""

    sender: CoordinateSender
    leaves: LeafCache
    feeds: Feeds
    clients: LiveClients
    sidecars: Sidecars
    watches: Watches

    def __init__(
        self,
        ground: Ground,
        backend: LocalBackend | RemoteBackend,
        own: Backend,
        gossip: Gossip,
        events: EventLog,
        tokens: AgentTokens,
    ) -> None:
        """``own`` is the way of what runs here by itself, with the tokens of this host."""
        self._ground = ground
        #: As of the last reload.
        self._config = ground.config
        self._backend = backend
        self._own = own
        self._gossip = gossip
        self._events = events
        self.cache = AnswerCache(
            backend,
            answers_max=ground.config.limits.cache_answers_max,
            away_s=backend.away_s,
            rng=ground.rng,
            fetch_rate=ground.config.cache_entry_fetch_rate,
            fetch_burst=ground.config.cache_entry_fetch_max_burst,
        )
        self.local = LocalAgent(
            ground.config,
            own,
            node=lambda: catalog_node(self._config, ground.node_id),
            members=lambda: len(gossip.members()),
            tokens=tokens,
        )

    async def start(self) -> None:
        """Take up what is registered here. Raises ConfigError."""
        ground, config = self._ground, self._ground.config
        ground.closers.add("cache", self.cache.close)
        ground.metrics.add("cache", self.cache.stats)
        local = self.local
        await local.start()
        ground.closers.add("local agent", local.stop)
        ground.metrics.add("local", local.stats)
        self.sender = coordinate_sender(config, self._own, self._gossip, ground.metrics)
        ground.owner.spawn(self.sender.run(), name="coordinates")
        self._events.ready(lambda: local.services().values(), self._remote_exec())
        if not config.server:
            follow = follow_restores(self._backend, self._restored, rng=ground.rng)
            ground.owner.spawn(follow, name="restores")
        self._start_mesh()
        self.watches = Watches(own_api(config), rng=ground.rng)
        ground.metrics.add("watches", self.watches.stats)

    def _remote_exec(self) -> Callable[[bytes], None] | None:
        """What runs the commands of others here; None where the operator has not allowed it."""
        ground, limits = self._ground, self._ground.config.limits
        runner = RemoteExec(
            self._own,
            node=ground.config.node_name,
            running_max=limits.remote_exec_max,
            output_max=limits.remote_exec_output_max,
        )
        ground.closers.add("remote exec", runner.close)
        ground.metrics.add("remote_exec", runner.stats)
        return None if ground.config.disable_remote_exec else runner.asked

    async def reload(self, config: AgentConfig) -> None:
        """Take over what may change while it runs. Raises ConfigError with all as it was."""
        await self.local.reload(config)
        self.watches.configure(config.watches)
        await self.sidecars.upgrade()
        meta_changed = self._config.node_meta != config.node_meta
        self._config = replace(self._config, node_meta=config.node_meta)
        if meta_changed:
            self.local.trigger_full_sync()

    def _restored(self) -> None:
        """The servers have another state: what is kept of the former one counts no more."""
        self.cache.drop()
        self.local.catalog_restored()

    def servers_appeared(self) -> None:
        """The first server is known: tell it what is here."""
        self.local.trigger_full_sync()

    def _wanted_sidecars(self) -> list[SidecarSpec]:
        """Each with the token of its registration."""
        return [SidecarSpec(each, self.local.token_of(each)) for each in self.local.sidecars()]

    def _start_mesh(self) -> None:
        ground, config = self._ground, self._ground.config
        self.leaves = LeafCache(
            self._own,
            datacenter=config.datacenter,
            rng=ground.rng,
            domains=config.dns.zones,
            leaves_max=config.limits.leaves_max,
        )
        ground.closers.add("leaf cache", self.leaves.close)
        ground.metrics.add("leaves", self.leaves.stats)
        ground.owner.spawn(self.leaves.tell_health(self.local), name="leaf health")
        self.feeds = Feeds(
            self._own,
            datacenter=config.datacenter,
            leaves=self.leaves,
            local=self.local,
            make_filter=subset_filter,
            rng=ground.rng,
            token_of=self.local.token_of,
            central=config.enable_central_service_config,
            default_allow=config.acl.intentions_allow,
            proxies_max=config.limits.proxies_max,
        )
        self.clients = LiveClients(
            node=config.node_name, services=self.local.services, standings=self.feeds.standings
        )
        ground.closers.add("feeds of proxies", self.feeds.close)
        ground.metrics.add("feeds", self.feeds.stats)
        folder = _handover_dir(config)
        self.sidecars = Sidecars(
            http_addr=own_http(config),
            bind_address=sidecar_address(config),
            tunnel=config.proxy_tunnel,
            workers=config.proxy_workers,
            handover_dir=folder,
            variables=openssl_conf.variables(folder),
            flags=_more_flags(config),
            outlives_s=config.proxy_outlives_agent_s,
            program=lambda: looks((*folders(OF_SIDECARS), str(native.directory()))),
            on_change=lambda proxy_id: self.local.sidecar_changed(ServiceId(proxy_id)),
        )
        ground.closers.add("sidecars", self.sidecars.stop)
        ground.metrics.add("sidecars", self.sidecars.stats)
        if config.connect_enabled and config.connect_builtin_proxy == "auto":
            sidecars = self.sidecars.follow(self.local.watch_once, self._wanted_sidecars)
            ground.owner.spawn(sidecars, name="sidecars")


def _more_flags(config: AgentConfig) -> tuple[str, ...]:
    """What else sidecars are told: their form, and of streams with a connection of their own."""
    return (
        f"-native={config.proxy_native}",
        *_limits(config),
        f"-own-streams-max={config.proxy_own_streams_max}",
        f"-own-stream-bytes={config.proxy_own_stream_bytes}",
        f"-own-stream-within={config.proxy_own_stream_within_s:g}s",
    )


def _limits(config: AgentConfig) -> tuple[str, ...]:
    if not config.proxy_limits:
        return ()
    from proxy import bounds  # seldom given

    return tuple(f"-limit={k}={v!r}" for k, v in bounds.flat(config.proxy_limits).items())


def _handover_dir(config: AgentConfig) -> Path | None:
    """Where sidecars give their sockets to their successors; None without a data directory."""
    if not config.data_dir:
        return None
    path = Path(config.data_dir) / "sidecars"
    path.mkdir(mode=0o700, exist_ok=True)
    return path
