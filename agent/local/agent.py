"""LocalAgent: everything that lives on this host, joined.

Owns the order of things: a registration is checked first, then on disk, then in force, then in the
catalog; so a refusal or a full disk leaves all as it was. What each step means is decided by the
cores beside this file (registration, services, antientropy, restore, checks/).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.backend import Backend
from agent.config.schema import AgentConfig
from agent.definitions import CheckDefinition, ServiceDefinition
from agent.errors import ConfigError, RequestError
from agent.local.checks.os_service import systemd_runs
from agent.local.defined import Defined
from agent.local.expand import PortRange, sidecar_id
from agent.local.files import Files
from agent.local.kept import Kept
from agent.local.leaf_health import leaf_check, leaf_check_id
from agent.local.live import Live
from agent.local.maintenance import NODE_MAINTENANCE, TYPE, maintenance_check, service_maintenance
from agent.local.node import sidecar_address
from agent.local.registration import Policy, Registration, build_check, build_service
from agent.local.revocation import Missing, still_unwanted
from agent.local.services import LocalService, Records
from agent.local.stored import Changes
from agent.local.sync import Registering, Syncer
from agent.local.validate import sizes_of
from agent.tasks import TaskOwner
from raftstore.records import (
    CRITICAL,
    PASSING,
    WARNING,
    Check,
    CheckId,
    ExposePath,
    Json,
    Node,
    Service,
    ServiceId,
)

log = logging.getLogger("lictor.agent.local")

#: How long a registration waits for the catalog before it is answered all the same, in seconds.
CATALOG_WAIT_S = 3.0
#: How often services that are critical for too long are looked for (agent contract 1.4).
REAP_INTERVAL_S = 30.0


@dataclass(slots=True, kw_only=True)
class LocalStats:
    """What this host runs now, and counters since start."""

    services: int
    checks: int
    unsynced_services_current: int
    unsynced_checks_current: int
    check_runs: int
    check_runs_discarded: int
    check_probes_current: int
    check_probes_waiting_current: int
    check_ttl_expired: int
    loop_stalls: int
    full_syncs: int
    partial_syncs: int
    sync_failures: int
    sync_writes: int


class LocalAgent:
    """Services and checks of this host: registering, running, keeping, telling the catalog."""

    def __init__(
        self,
        config: AgentConfig,
        backend: Backend,
        *,
        node: Callable[[], Node],
        members: Callable[[], int] = lambda: 1,
        tokens: Registering | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        unix_clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._backend = backend
        self._node = node
        self._os_services = systemd_runs()
        self._members = members
        self._tokens = tokens
        self._rng = rng or random.Random()
        self._now = clock
        self._unix_now = unix_clock
        self._files = Files("" if config.dev_mode else config.data_dir)
        self._live = Live(
            config,
            on_change=self._changed,
            rng=self._rng,
            clock=clock,
            unix_clock=unix_clock,
            backend=backend,
            on_status=lambda check: self._kept.status(check),
            token_of=self.token_of,
            keep_entry=lambda entry: self._kept.entry(entry),
        )
        self._kept = Kept(self._files, self._live.state)
        self._defined = Defined(self._live, self._policy, rng=self._rng, unix_clock=unix_clock)
        self._owner = TaskOwner()
        self._watchers: dict[int, Callable[[], None]] = {}
        self._watchers_made = 0
        self._changing = asyncio.Lock()  # one registration at a time, over its disk writes
        self._syncer: Syncer | None = None

    # ---- life ----

    async def start(self) -> None:
        """Take up what was kept and what the files define. Raises ConfigError."""
        self._syncer = Syncer(
            self._live.state,
            self._backend,
            node=self._node,
            members=self._members,
            rng=self._rng,
            clock=self._now,
            on_failure=lambda error: self._befell(f"the catalog was not told: {error}"),
            on_revoked=self._revoke,
            on_compared=self._files.keep_name,
            tokens=self._tokens,
        )
        await self._restore()
        if self._tokens is not None:
            self._tokens.on_change(self._live.tokens_changed)
        self._owner.spawn(self._syncer.run(), name="anti-entropy")
        self._owner.spawn(self._reap(), name="critical services")

    async def stop(self) -> None:
        """End checks and syncs; what was registered stays registered."""
        await self._owner.close()
        await self._live.stop()
        await self._files.close()

    async def _restore(self) -> None:
        try:
            loaded = await self._files.load(self._node().name)
        except OSError as error:
            raise ConfigError(f"registrations in data_dir cannot be read: {error}") from None
        assert self._syncer is not None, "made before what is restored can change"
        self._syncer.former_names = loaded.former_names
        self._live.central.restore(loaded.entries)
        await self._kept.apply(await self._defined.restore(self._config, loaded))

    # ---- reading ----

    def services(self) -> Mapping[ServiceId, Service]:
        """The services of this host by id, as they are whenever one looks."""
        return Records(self._live.state.services)

    def merged(self, service: Service) -> Service:
        """A service of this host with what config entries say of it (agent contract 2.2)."""
        return self._live.proxied.merged(service)

    def exposed_paths(self, proxy_id: ServiceId) -> tuple[ExposePath, ...]:
        """What a proxy has to open for the checks of its service (`expose.checks`)."""
        return self._live.proxied.paths(proxy_id)

    def checks(self) -> Mapping[CheckId, Check]:
        """The checks of this host by id, as they stand whenever one looks."""
        return Records(self._live.state.checks)

    def sidecars(self) -> tuple[ServiceId, ...]:
        """The proxies that came from `connect.sidecar_service`."""
        return tuple(key for key, service in self._live.state.services.items() if service.sidecar)

    def token_of(self, service_id: ServiceId) -> str:
        """The secret that a service was registered with, or that stands in for it; "" for none."""
        held = self._live.state.services.get(service_id)
        if held is None or self._tokens is None:
            return "" if held is None else held.token
        return self._tokens.registering(held.token, configured=held.source == "local")

    def sidecar_changed(self, proxy_id: ServiceId) -> None:
        """The process of a sidecar started or ended: its checks look now, not in an interval."""
        self._befell(f"the process of sidecar {proxy_id} started or ended")
        self._live.hasten(proxy_id)

    def explain_check(self, check_id: CheckId) -> Json:
        """Why a check has its status: its last results, newest last; None for an unknown id."""
        return self._live.explain(check_id)

    def stats(self) -> LocalStats:
        """What runs here, and counters."""
        run, sync = self._live.runner.stats, self._syncer.stats if self._syncer else None
        return LocalStats(
            services=len(self._live.state.services),
            checks=len(self._live.state.checks),
            unsynced_services_current=len(self._live.state.unsynced_services),
            unsynced_checks_current=len(self._live.state.unsynced_checks),
            check_runs=run.runs,
            check_runs_discarded=run.runs_discarded,
            check_probes_current=run.probes_current,
            check_probes_waiting_current=run.probes_waiting_current,
            check_ttl_expired=run.ttl_expired,
            loop_stalls=run.loop_stalls,
            full_syncs=sync.full_syncs if sync else 0,
            partial_syncs=sync.partial_syncs if sync else 0,
            sync_failures=sync.sync_failures if sync else 0,
            sync_writes=sync.writes if sync else 0,
        )

    def watch_once(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` once at the next change of services or checks; gives a cancel."""
        self._watchers_made += 1
        key = self._watchers_made
        self._watchers[key] = callback

        def cancel() -> None:
            self._watchers.pop(key, None)

        return cancel

    def catalog_restored(self) -> None:
        """Another catalog is in force: compare with it soon, but not with all other agents."""
        if self._syncer is not None:
            self._syncer.trigger_full_soon()

    def trigger_full_sync(self) -> None:
        """Compare with the whole catalog at once (after a join, or when servers appear)."""
        if self._syncer is not None:
            self._syncer.trigger_full()

    # ---- registering ----

    async def register_service(
        self, definition: ServiceDefinition, *, replace_existing_checks: bool = False
    ) -> None:
        """Register or replace a service, with its checks and its sidecar.

        Durable here on return, and in the catalog too when servers answered within
        ``CATALOG_WAIT_S``. Raises RequestError.
        """
        async with self._changing:
            policy = self._policy(self._config)
            registration = build_service(definition, policy, self._live.state, "remote")
            gone = self._replaced_checks(registration) if replace_existing_checks else ()
            await self._kept.registration(registration, gone, self._unix_now())
            self._live.apply(registration, {})
            for check_id in gone:
                self._live.drop_check(check_id)
            self._changed()
        await self._told()

    async def deregister_service(self, service_id: ServiceId) -> bool:
        """Remove a service with its checks and its sidecar; says whether there was one."""
        async with self._changing:
            if service_id not in self._live.state.services:
                return False
            await self._remove_services(self._with_sidecar(service_id))
        await self._told()
        return True

    async def register_check(self, definition: CheckDefinition) -> None:
        """Register or replace a check of the node or of a service. Raises RequestError."""
        async with self._changing:
            policy = self._policy(self._config)
            registration = build_check(definition, policy, self._live.state, "remote")
            await self._kept.registration(registration, (), self._unix_now())
            self._live.apply(registration, {})
            self._changed()
        await self._told()

    async def deregister_check(self, check_id: CheckId) -> bool:
        """Remove a check; says whether there was one."""
        async with self._changing:
            if check_id not in self._live.state.checks:
                return False
            await self._kept.apply(Changes(gone_checks=(check_id,)))
            self._live.drop_check(check_id)
            self._changed()
        await self._told()
        return True

    async def update_ttl(self, check_id: CheckId, status: str, output: str) -> None:
        """A TTL check reports. Raises RequestError when it is none."""
        check = self._live.state.checks.get(check_id)
        if check is None or check.definition.kind != "ttl":
            raise RequestError(500, f'CheckID "{check_id}" does not have associated TTL')
        if status not in {PASSING, WARNING, CRITICAL}:
            raise RequestError(400, f"Invalid check status: '{status}'")
        record = self._live.update_ttl(check_id, status, output)
        self._kept.status(record, expires_at=self._unix_now() + check.definition.ttl_s)

    async def set_node_maintenance(self, enable: bool, reason: str = "") -> None:
        """Take the node, and so all its services, out of use; or back into it."""
        await self._set_maintenance(NODE_MAINTENANCE, None, enable, reason)

    async def set_service_maintenance(
        self, service_id: ServiceId, enable: bool, reason: str = ""
    ) -> None:
        """Take one service out of use or back into it. Raises RequestError for an unknown id."""
        service = self._live.state.services.get(service_id)
        if service is None:
            raise RequestError(404, f'No service registered with ID "{service_id}"')
        await self._set_maintenance(service_maintenance(service_id), service, enable, reason)

    async def set_leaf_health(self, proxy_id: ServiceId, reason: str) -> None:
        """Why a proxy's leaf is of no use, as a critical check that is not kept; "" for none."""
        check_id = leaf_check_id(proxy_id)
        async with self._changing:
            service = self._live.state.services.get(proxy_id)
            known = check_id in self._live.state.checks
            if reason and service is not None and not known:
                check = leaf_check(self._node().name, service.record, reason)
                self._live.apply(Registration(checks=(check,)), {})
            elif known and not reason:
                self._live.drop_check(check_id)
            else:
                return
            self._changed()

    async def reload(self, config: AgentConfig) -> None:
        """Follow changed configuration files. Raises ConfigError with everything as it was."""
        async with self._changing:
            changes = await self._defined.prepare(config)
            self._config = config
            self._live.configure(config)
            await self._defined.put_in_force(config)
            await self._kept.apply(changes)
            self._befell("the configuration was reloaded")
            self._changed()

    # ---- inside: changing ----

    def _befell(self, text: str) -> None:
        """For those who ask why a check changed."""
        self._live.moments.befell(self._unix_now(), text)

    def _policy(self, config: AgentConfig) -> Policy:
        return Policy(
            node=self._node().name,
            server=config.server,
            ports=PortRange(
                config.port_sidecar_min, config.port_sidecar_max, sidecar_address(config)
            ),
            scripts_by_request=config.enable_script_checks,
            scripts_by_file=config.enable_script_checks or config.enable_local_script_checks,
            services_max=config.limits.services_max,
            checks_max=config.limits.checks_max,
            os_services=self._os_services,
            sizes=sizes_of(config.limits),
        )

    def _replaced_checks(self, registration: Registration) -> tuple[CheckId, ...]:
        """The former checks of the services; maintenance is the operator's and stays."""
        new = {check.record.id for check in registration.checks}
        return tuple(
            check.record.id
            for service in registration.services
            for check in self._live.state.checks_of(service.record.id)
            if check.record.id not in new and check.record.type != TYPE
        )

    def _with_sidecar(self, owner: ServiceId) -> tuple[ServiceId, ...]:
        sidecar = self._live.state.services.get(sidecar_id(owner))
        return (owner, sidecar.record.id) if sidecar and sidecar.sidecar else (owner,)

    async def _remove_services(self, ids: tuple[ServiceId, ...]) -> None:
        checks = tuple(check.record.id for one in ids for check in self._live.state.checks_of(one))
        await self._kept.apply(Changes(gone_services=ids, gone_checks=checks))
        for one in ids:
            self._live.drop_service(one)
        self._changed()

    async def _revoke(self, revoked: Missing) -> None:
        """Remove what a request to another agent has removed from the catalog."""
        async with self._changing:
            # Nobody registers from here on; before, somebody may have.
            revoked = still_unwanted(self._live.state, revoked)
            for service_id in revoked.services:
                log.info("deregistered through the catalog service=%s", service_id)
                await self._remove_services(self._with_sidecar(service_id))
            for check_id in revoked.checks:
                if check_id in self._live.state.checks:
                    log.info("deregistered through the catalog check=%s", check_id)
                    await self._kept.apply(Changes(gone_checks=(check_id,)))
                    self._live.drop_check(check_id)
                    self._changed()

    async def _set_maintenance(
        self, check_id: CheckId, service: LocalService | None, enable: bool, reason: str
    ) -> None:
        if not enable:
            await self.deregister_check(check_id)
            return
        async with self._changing:
            if check_id in self._live.state.checks:
                return  # the first reason stays
            record = service.record if service else None
            check = maintenance_check(self._node().name, record, reason)
            if service is not None and service.record.id not in self._live.state.services:
                raise RequestError(404, f'No service registered with ID "{service.record.id}"')
            registration = Registration(checks=(check,))
            await self._kept.registration(registration, (), self._unix_now())
            self._live.apply(registration, {})
            self._changed()
        log.info("maintenance mode entered check=%s reason=%s", check_id, reason)
        self._befell(f"maintenance mode entered: {check_id}")
        await self._told()

    def _changed(self) -> None:
        """Tell the catalog, and whoever waits for a change."""
        if self._syncer is not None:
            self._syncer.changed()
        watchers, self._watchers = self._watchers, {}
        for callback in watchers.values():
            callback()

    async def _told(self) -> None:
        if self._syncer is not None:
            await self._syncer.covered(CATALOG_WAIT_S)

    async def _reap(self) -> None:
        """Remove services that are critical for longer than they asked for."""
        while True:
            await asyncio.sleep(REAP_INTERVAL_S)
            for dead, check_id in self._live.state.dead_services(self._now()):
                log.warning(
                    "service was critical for too long, removing it service=%s check=%s",
                    dead,
                    check_id,
                )
                try:
                    await self.deregister_service(dead)
                except RequestError as error:
                    log.warning("service not removed service=%s error=%s", dead, error)
