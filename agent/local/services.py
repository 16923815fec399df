"""What was registered on this host, and what of it the catalog does not know yet.

Decides which entries are out of step with the catalog and when a mere change of output is told
(agent contract 4.1). Comparing with the catalog is antientropy.py's; running checks, files and
tasks belong to others.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeVar

from agent.definitions import CheckDefinition
from raftstore.records import CRITICAL, Check, CheckId, Service, ServiceId, ServiceName

#: Where a registration came from: a configuration file, or a request.
Source = Literal["local", "remote"]

K = TypeVar("K")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class _Held(Protocol[R_co]):
    @property
    def record(self) -> R_co: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalService:
    """A service of this host. ``sidecar``: it came with its parent and goes with it. ``kept_at`` is
    when it was last asked for (Unix seconds), where that is not just now: for one that was read
    from disk, or registered again unchanged."""

    record: Service
    token: str = ""
    source: Source = "remote"
    sidecar: bool = False
    kept_at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCheck:
    """A check of this host with the definition it runs by. ``kept_at`` as of a service."""

    record: Check
    definition: CheckDefinition
    token: str = ""
    source: Source = "remote"
    kept_at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Unsynced:
    """What is out of step with the catalog. Dicts serve as ordered sets; a gone service has the
    checks that it had."""

    services: dict[ServiceId, None]
    checks: dict[CheckId, None]
    gone_services: dict[ServiceId, tuple[CheckId, ...]]
    gone_checks: dict[CheckId, None]


class Records(Mapping[K, R]):
    """What is registered as the catalog has it, by id: a look at what is here now, not a copy."""

    __slots__ = ("_held",)

    def __init__(self, held: Mapping[K, _Held[R]]) -> None:
        self._held = held

    def __getitem__(self, key: K) -> R:
        return self._held[key].record

    def __iter__(self) -> Iterator[K]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


class LocalState:
    """Services and checks of this host. Transitions have names; nothing else changes it."""

    __slots__ = (
        "_checks",
        "_checks_of",
        "_critical_since",
        "_held",
        "_held_heap",
        "_rng",
        "_services",
        "_told",
        "check_update_interval_s",
        "compared_index",
        "gone_checks",
        "gone_services",
        "node_in_sync",
        "unsynced_checks",
        "unsynced_services",
    )

    def __init__(self, *, check_update_interval_s: float, rng: random.Random) -> None:
        self.check_update_interval_s = check_update_interval_s
        self._rng = rng
        self._services: dict[ServiceId, LocalService] = {}
        self._checks: dict[CheckId, LocalCheck] = {}
        self._checks_of: dict[ServiceId, dict[CheckId, None]] = {}
        self._critical_since: dict[CheckId, float] = {}
        self._held: dict[CheckId, float] = {}
        self._held_heap: list[tuple[float, CheckId]] = []
        self.node_in_sync = False
        #: Index of the last comparison, and of later writes by service or check id.
        self.compared_index = 0
        self._told: dict[str, int] = {}
        # Dicts serve as ordered sets: what changed first is written first.
        self.unsynced_services: dict[ServiceId, None] = {}
        self.unsynced_checks: dict[CheckId, None] = {}
        self.gone_services: dict[ServiceId, tuple[CheckId, ...]] = {}  # with their last checks
        self.gone_checks: dict[CheckId, None] = {}

    # ---- reading ----

    @property
    def services(self) -> Mapping[ServiceId, LocalService]:
        """All services by id."""
        return self._services

    @property
    def checks(self) -> Mapping[CheckId, LocalCheck]:
        """All checks by id, those of the node and those of services."""
        return self._checks

    def checks_of(self, service_id: ServiceId) -> tuple[LocalCheck, ...]:
        """The checks of one service; "" gives those of the node."""
        return tuple(self._checks[check] for check in self._checks_of.get(service_id, ()))

    @property
    def deadline(self) -> float | None:
        """When held-back output is to be told, None if none is held back."""
        while self._held_heap:
            at, check_id = self._held_heap[0]
            if self._held.get(check_id) == at:
                return at
            heapq.heappop(self._held_heap)
        return None

    def is_held(self, check_id: CheckId) -> bool:
        """Whether the check differs from the catalog by output that may wait."""
        return check_id in self._held

    @property
    def in_sync(self) -> bool:
        """Whether the catalog knows all that may not wait."""
        return self.node_in_sync and not (
            self.unsynced_services or self.unsynced_checks or self.gone_services or self.gone_checks
        )

    def dead_services(self, now: float) -> tuple[tuple[ServiceId, CheckId], ...]:
        """Services with a check that has been critical for longer than it allows, each once."""
        dead: dict[ServiceId, CheckId] = {}
        for check_id, since in self._critical_since.items():
            check = self._checks[check_id]
            if now - since > check.definition.deregister_critical_service_after_s:
                dead.setdefault(check.record.service_id, check_id)
        return tuple(dead.items())

    # ---- transitions ----

    def register(self, service: LocalService) -> bool:
        """Add a service or replace the one with its id; says whether anything changed."""
        service_id = service.record.id
        if self._services.get(service_id) == service:
            return False
        self._services[service_id] = service
        # Its former checks are in the catalog still and do not go with it any more.
        self.gone_checks.update(dict.fromkeys(self.gone_services.pop(service_id, ())))
        self.unsynced_services[service_id] = None
        for check in self.checks_of(service_id):
            self._copy_service(check, service.record)
        return True

    def renew(self, service_id: ServiceId, unix_now: float) -> None:
        """A service was registered again as it is: there is nothing to tell, but it is wanted."""
        self._services[service_id] = replace(self._services[service_id], kept_at=unix_now)

    def deregister(self, service_id: ServiceId) -> tuple[CheckId, ...] | None:
        """Remove a service with its checks; gives their ids, None if there is no such service."""
        if self._services.pop(service_id, None) is None:
            return None
        checks = tuple(self._checks_of.get(service_id, ()))
        for check_id in checks:
            self._forget_check(check_id)
        self.unsynced_services.pop(service_id, None)
        self._told.pop(service_id, None)
        self.gone_services[service_id] = checks  # they go with it in the catalog
        return checks

    def put_check(self, check: LocalCheck, now: float) -> bool:
        """Add a check or replace the one with its id; says whether anything changed.

        The service of the check must be registered.
        """
        record = check.record
        assert not record.service_id or record.service_id in self._services
        known = self._checks.get(record.id)
        if known == check:
            return False
        if known is not None:
            self._forget_check(record.id)
        self._checks[record.id] = check
        self._checks_of.setdefault(record.service_id, {})[record.id] = None
        self.gone_checks.pop(record.id, None)
        self.unsynced_checks[record.id] = None
        self._watch_critical(check, now)
        return True

    def renew_check(self, check_id: CheckId, unix_now: float) -> None:
        """A check was registered again as it is, like ``renew``."""
        self._checks[check_id] = replace(self._checks[check_id], kept_at=unix_now)

    def set_exposed(self, check_id: CheckId, port: int) -> None:
        """A check goes through its service's sidecar at this port, or directly for 0."""
        check = self._checks.get(check_id)
        if check is not None and check.record.exposed_port != port:
            self._checks[check_id] = replace(check, record=replace(check.record, exposed_port=port))
            self.unsynced_checks[check_id] = None
            self._held.pop(check_id, None)

    def remove_check(self, check_id: CheckId) -> bool:
        """Remove a check; says whether there was one."""
        if check_id not in self._checks:
            return False
        self._forget_check(check_id)
        self.gone_checks[check_id] = None
        return True

    def update_check(self, check_id: CheckId, status: str, output: str, now: float) -> bool:
        """A check has a result; says whether anything changed.

        A change of status is told at once, a change of output alone after about
        ``check_update_interval_s``.
        """
        check = self._checks.get(check_id)
        if check is None or (check.record.status, check.record.output) == (status, output):
            return False
        same_status = check.record.status == status
        check = replace(check, record=replace(check.record, status=status, output=output))
        self._checks[check_id] = check
        if same_status and self.check_update_interval_s > 0:
            self._hold(check_id, now)
        else:
            self.unsynced_checks[check_id] = None
            self._held.pop(check_id, None)
            self._watch_critical(check, now)
        return True

    def adopt_tags(self, service_id: ServiceId, tags: tuple[str, ...]) -> None:
        """Take the catalog's tags, which the service allows others to set."""
        service = self._services.get(service_id)
        if service is None or service.record.tags == tags:
            return
        service = replace(service, record=replace(service.record, tags=tags))
        self._services[service_id] = service
        for check in self.checks_of(service_id):
            self._copy_service(check, service.record)

    def release_held(self, now: float) -> bool:
        """Output that was held back long enough is to be told now; says whether there is any."""
        released = False
        while (at := self.deadline) is not None and at <= now:
            _, check_id = heapq.heappop(self._held_heap)
            del self._held[check_id]
            self.unsynced_checks[check_id] = None
            released = True
        return released

    def begin_comparison(self) -> Unsynced:
        """From now on only what changes meanwhile is out of step; gives what was so before."""
        before = Unsynced(
            self.unsynced_services, self.unsynced_checks, self.gone_services, self.gone_checks
        )
        self.unsynced_services, self.unsynced_checks = {}, {}
        self.gone_services, self.gone_checks = {}, {}
        return before

    def abandon_comparison(self, before: Unsynced) -> None:
        """It broke off: what was out of step before is so still, unless it has gone."""
        self._add_unsynced(before)

    def note_differences(
        self,
        *,
        node: bool,
        services: Iterable[ServiceId],
        checks: Iterable[CheckId],
        gone_services: Iterable[ServiceId],
        gone_checks: Iterable[CheckId],
    ) -> None:
        """A comparison with the whole catalog is the truth about what is out of step, beside what
        has changed since it began."""
        self.node_in_sync = not node
        self._add_unsynced(
            Unsynced(
                dict.fromkeys(services),
                dict.fromkeys(checks),
                dict.fromkeys(gone_services, ()),
                dict.fromkeys(gone_checks),
            )
        )

    def _add_unsynced(self, more: Unsynced) -> None:
        for service_id in more.services:
            if service_id in self._services:
                self.unsynced_services[service_id] = None
        for check_id in more.checks:
            if check_id in self._checks:
                self.unsynced_checks[check_id] = None
                self._held.pop(check_id, None)
        for service_id, checks in more.gone_services.items():
            if service_id not in self._services:
                self.gone_services.setdefault(service_id, checks)
            else:
                self.gone_checks.update(dict.fromkeys(checks))
        for check_id in more.gone_checks:
            self.gone_checks[check_id] = None
        for check_id in [each for each in self.gone_checks if each in self._checks]:
            del self.gone_checks[check_id]

    def told_index(self, key: ServiceId | CheckId) -> int:
        """The index of the catalog at which it had, for sure, what is registered here."""
        return max(self.compared_index, self._told.get(key, 0))

    def mark_service_synced(self, record: Service, index: int = 0) -> None:
        """The catalog has this record; a newer one, made meanwhile, stays out of step."""
        service = self._services.get(record.id)
        if service is not None:
            self._told[record.id] = index
        if service is not None and service.record is record:
            self.unsynced_services.pop(record.id, None)

    def mark_check_synced(self, record: Check, index: int = 0) -> None:
        """The catalog has this record; a newer one, made meanwhile, stays out of step."""
        check = self._checks.get(record.id)
        if check is not None:
            self._told[record.id] = index
        if check is not None and check.record is record:
            self.unsynced_checks.pop(record.id, None)
            self._held.pop(record.id, None)

    def mark_service_removed(self, service_id: ServiceId) -> None:
        """The catalog has it no more. One registered anew in the meantime must be written again."""
        self.gone_services.pop(service_id, None)
        if service_id in self._services:
            self.unsynced_services[service_id] = None
            self.unsynced_checks.update(self._checks_of.get(service_id, {}))

    def mark_check_removed(self, check_id: CheckId) -> None:
        """The catalog has it no more. One registered anew in the meantime must be written again."""
        self.gone_checks.pop(check_id, None)
        if check_id in self._checks:
            self.unsynced_checks[check_id] = None

    # ---- inside ----

    def _copy_service(self, check: LocalCheck, service: Service) -> None:
        """Checks show their service's name and tags; the catalog copies them by itself."""
        record = replace(
            check.record,
            service_name=ServiceName(service.name),
            service_tags=service.tags,
        )
        self._checks[record.id] = replace(check, record=record)

    def _forget_check(self, check_id: CheckId) -> None:
        check = self._checks.pop(check_id)
        siblings = self._checks_of[check.record.service_id]
        del siblings[check_id]
        if not siblings:
            del self._checks_of[check.record.service_id]
        self.unsynced_checks.pop(check_id, None)
        self._told.pop(check_id, None)
        self._held.pop(check_id, None)
        self._critical_since.pop(check_id, None)

    def _hold(self, check_id: CheckId, now: float) -> None:
        """Random in [d/2, 3d/2), so that a fleet with one noisy check does not write at once."""
        if check_id in self.unsynced_checks or check_id in self._held:
            return
        wait = self.check_update_interval_s * (0.5 + self._rng.random())
        self._held[check_id] = now + wait
        heapq.heappush(self._held_heap, (now + wait, check_id))

    def _watch_critical(self, check: LocalCheck, now: float) -> None:
        """The clock of section 1.4: in memory only, and only for checks of services."""
        limit = check.definition.deregister_critical_service_after_s
        if check.record.status == CRITICAL and limit > 0 and check.record.service_id:
            self._critical_since.setdefault(check.record.id, now)
        else:
            self._critical_since.pop(check.record.id, None)

    def check_invariants(self) -> None:
        """What only our own bug can break."""
        for check_id, check in self._checks.items():
            owner = check.record.service_id
            assert not owner or owner in self._services
            assert check_id in self._checks_of[owner]
        assert sum(map(len, self._checks_of.values())) == len(self._checks)
        assert self.unsynced_services.keys() <= self._services.keys()
        assert self.unsynced_checks.keys() <= self._checks.keys()
        assert self._held.keys() <= self._checks.keys()
        assert self._critical_since.keys() <= self._checks.keys()
        assert not self._held.keys() & self.unsynced_checks.keys()
