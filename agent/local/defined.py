"""What configuration files define, put in force at the start and at every reload.

Thousands of definitions take longer than the loop may be held, so they are taken one by one with
other work between. A reload is tried on an empty state first, so that one that is refused changes
nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Generator, Mapping, Sequence

from agent.config.schema import AgentConfig
from agent.errors import ConfigError, RequestError
from agent.local.live import Live
from agent.local.registration import Policy, Registration, build_check, build_service
from agent.local.restore import config_check_ids, config_service_ids, restore, resumed
from agent.local.services import LocalCheck, LocalService, LocalState
from agent.local.stored import Changes, KeptState, Loaded
from raftstore.records import CheckId, ServiceId
from raftstore.slices import in_slices

Steps = Generator[None, None, None]


class Defined:
    """Registers what files define. The caller sees to it that nobody else registers meanwhile."""

    __slots__ = ("_live", "_policy_of", "_rng", "_unix_now")

    def __init__(
        self,
        live: Live,
        policy_of: Callable[[AgentConfig], Policy],
        *,
        rng: random.Random,
        unix_clock: Callable[[], float],
    ) -> None:
        self._live = live
        self._policy_of = policy_of
        self._rng = rng
        self._unix_now = unix_clock

    async def restore(self, config: AgentConfig, loaded: Loaded) -> Changes:
        """Take up what was kept and what the files define; gives the files that are needed no
        more. Raises ConfigError."""
        services, checks = await asyncio.to_thread(_ids_of, config)
        restored = restore(
            loaded, config_services=services, config_checks=checks, unix_now=self._unix_now()
        )
        # Kept services first: their sidecars hold ports that new ones must not get.
        await in_slices(self._apply_kept(restored.services, (), {}))
        kept = {state.check_id: state for state in loaded.states}
        await in_slices(self._apply_config(config, kept))
        await in_slices(self._apply_kept((), restored.checks, restored.ttl_left_s))
        return restored.purge

    async def prepare(self, config: AgentConfig) -> Changes:
        """Remove what is defined no more; gives the changes of files, once ``config`` is in force.

        Raises ConfigError with everything as it was.
        """
        await in_slices(self._try_config(config))
        services, checks = await asyncio.to_thread(_ids_of, config)
        gone = await in_slices(self._drop_unwanted(services, checks))
        # What a file defines now is the file's, not the request's any more.
        return Changes(gone_services=tuple(services), gone_checks=gone, now_in_files=tuple(checks))

    async def put_in_force(self, config: AgentConfig) -> None:
        """Register what the files define."""
        await in_slices(self._apply_config(config, {}))

    # ---- steps ----

    def _apply_kept(
        self,
        services: Sequence[LocalService],
        checks: Sequence[LocalCheck],
        ttl_left_s: Mapping[CheckId, float],
    ) -> Steps:
        """Put in force what was kept, one by one."""
        for service in services:
            self._live.apply(Registration(services=(service,)), {})
            yield
        for check in checks:
            self._live.apply(Registration(checks=(check,)), ttl_left_s)
            yield

    def _apply_config(self, config: AgentConfig, states: Mapping[CheckId, KeptState]) -> Steps:
        """Register what the files define, one by one. Raises ConfigError for the first that is
        refused."""
        policy = self._policy_of(config)
        for service in config.services:
            try:
                registration = build_service(service, policy, self._live.state, "local")
            except RequestError as error:
                # Of files the reference says this in the other order.
                text = error.text if service.name else "Service name missing"
                raise ConfigError(f'Failed to register service "{service.name}": {text}') from None
            self._apply_with_states(registration, states)
            yield
        for check in config.checks:
            try:
                registration = build_check(check, policy, self._live.state, "local")
            except RequestError as error:
                raise ConfigError(
                    f'Failed to register check "{check.name}": {error.text}'
                ) from None
            self._apply_with_states(registration, states)
            yield

    def _apply_with_states(
        self, registration: Registration, states: Mapping[CheckId, KeptState]
    ) -> None:
        """Checks of files take up their kept state too."""
        left: dict[CheckId, float] = {}
        checks: list[LocalCheck] = []
        for check in registration.checks:
            check, left_s = resumed(check, states.get(check.record.id), self._unix_now())
            if left_s > 0:
                left[check.record.id] = left_s
            checks.append(check)
        self._live.apply(
            Registration(
                services=registration.services,
                checks=tuple(checks),
                warnings=registration.warnings,
            ),
            left,
        )

    def _try_config(self, config: AgentConfig) -> Steps:
        """Register the files' definitions into an empty state: raises before anything changed."""
        trial = LocalState(check_update_interval_s=0.0, rng=self._rng)
        policy = self._policy_of(config)
        for service in self._live.state.services.values():
            if service.source == "remote":
                trial.register(service)
        try:
            for definition in config.services:
                for one in build_service(definition, policy, trial, "local").services:
                    trial.register(one)
                yield
            for check in config.checks:
                build_check(check, policy, trial, "local")
                yield
        except RequestError as error:
            raise ConfigError(error.text) from None

    def _drop_unwanted(
        self, services: Collection[ServiceId], checks: Collection[CheckId]
    ) -> Generator[None, None, tuple[CheckId, ...]]:
        """Remove what files defined and define no more; gives the checks that went alone."""
        for key, service in list(self._live.state.services.items()):
            if service.source == "local" and key not in services:
                self._live.drop_service(key)
                yield
        gone = tuple(
            check_id
            for check_id, check in self._live.state.checks.items()
            if check.source == "local" and check_id not in checks
        )
        for check_id in gone:
            self._live.drop_check(check_id)
            yield
        return gone


def _ids_of(config: AgentConfig) -> tuple[frozenset[ServiceId], frozenset[CheckId]]:
    """The ids that configuration files define; a thread's work for thousands of them."""
    return config_service_ids(config), config_check_ids(config)
