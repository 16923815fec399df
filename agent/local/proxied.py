"""The proxies of this host as they are configured, and the checks that go through them.

Joins what entries say (central.py), which ports checks are exposed at (exposing.py), and which
proxy stands before which service.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from agent.definitions import CheckDefinition
from agent.local.exposing import Exposing, exposable
from agent.local.services import LocalState
from raftstore.entries.central import SIDECAR
from raftstore.records import CheckId, ExposePath, Service, ServiceId


class Defaults(Protocol):
    """What config entries say of proxies (central.py)."""

    def put(self, service: Service) -> None: ...
    def remove(self, service_id: ServiceId) -> None: ...
    def merged(self, service: Service) -> Service: ...


class Proxied:
    """Follows registrations; the caller runs the checks."""

    def __init__(self, state: LocalState, exposing: Exposing, central: Defaults) -> None:
        self._state = state
        self._exposing = exposing
        self._central = central
        #: The proxies before a service, by its id.
        self._before: dict[ServiceId, dict[ServiceId, None]] = {}
        self._owner_of: dict[ServiceId, ServiceId] = {}

    def merged(self, service: Service) -> Service:
        """A service with what config entries say of it."""
        return self._central.merged(service)

    def asked(self, check: CheckDefinition) -> CheckDefinition:
        """What is really asked for a check."""
        return self._exposing.asked(check)

    def paths(self, proxy_id: ServiceId) -> tuple[ExposePath, ...]:
        """What a proxy has to open for the checks of the service behind it."""
        owner = self._owner_of.get(proxy_id)
        if owner is None or self._exposer(owner) != proxy_id:
            return ()
        return self._exposing.paths(owner)

    def registered(self, service: Service) -> None:
        """A service is here, or is another than before."""
        self._central.put(service)
        self._disown(service.id)
        owner = ServiceId(service.proxy.destination_service_id)
        if service.kind == SIDECAR and owner:
            self._owner_of[service.id] = owner
            self._before.setdefault(owner, {})[service.id] = None

    def removed(self, service_id: ServiceId) -> None:
        """A service is here no more."""
        self._central.remove(service_id)
        self._disown(service_id)

    def owner_of(self, service_id: ServiceId) -> ServiceId:
        """The service whose checks a registration concerns: that behind a proxy, else itself."""
        return self._owner_of.get(service_id, service_id)

    def follow(self, owners: Iterable[ServiceId]) -> tuple[CheckId, ...]:
        """Expose the checks of these services as is wanted now; gives those that changed."""
        changed: list[CheckId] = []
        for owner in owners:
            if owner not in self._before and not self._exposing.paths(owner):
                continue
            proxy_id = self._exposer(owner)
            proxy = self._state.services[proxy_id].record if proxy_id else None
            checks = [
                check.definition
                for check in self._state.checks_of(owner)
                if exposable(check.definition)
            ]
            changed += self._exposing.follow(owner, checks, proxy, self._listened)
        for check_id in changed:
            self._state.set_exposed(check_id, self._exposing.port(check_id))
        return tuple(changed)

    def _exposer(self, owner: ServiceId) -> ServiceId | None:
        """The first proxy of a service that exposes its checks."""
        for proxy_id in self._before.get(owner, ()):
            held = self._state.services.get(proxy_id)
            if held is not None and self.merged(held.record).proxy.expose_checks:
                return proxy_id
        return None

    def _listened(self) -> frozenset[int]:
        """The ports that proxies have for paths of their own."""
        held = (self._state.services.get(proxy_id) for proxy_id in self._owner_of)
        return frozenset(
            path.listener_port
            for service in held
            if service is not None
            for path in self.merged(service.record).proxy.expose_paths
        )

    def _disown(self, proxy_id: ServiceId) -> None:
        owner = self._owner_of.pop(proxy_id, None)
        if owner is not None:
            del self._before[owner][proxy_id]
            if not self._before[owner]:
                del self._before[owner]
