"""What an alias check says: the worst of the checks of what it stands for (agent contract 1.1)."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator

from agent.definitions import CheckDefinition
from agent.local.services import LocalState
from raftstore.records import CRITICAL, PASSING, WARNING, Check, CheckId, ServiceId

#: An alias of an alias is followed; in a circle each check is looked at this often at one change.
LOOKS_MAX = 4


class Aliases:
    """Which alias checks follow which service. The key "" stands for the node itself."""

    __slots__ = ("_followers", "_targets")

    def __init__(self) -> None:
        self._followers: dict[ServiceId, dict[CheckId, None]] = {}
        self._targets: dict[CheckId, CheckDefinition] = {}

    def add(self, check: CheckDefinition) -> None:
        """Follow ``check.alias_service``, or the node when there is none."""
        self.remove(check.id)
        self._targets[check.id] = check
        self._followers.setdefault(check.alias_service, {})[check.id] = None

    def remove(self, check_id: CheckId) -> None:
        """Follow no more; others are left alone."""
        check = self._targets.pop(check_id, None)
        if check is not None:
            followers = self._followers[check.alias_service]
            del followers[check_id]
            if not followers:
                del self._followers[check.alias_service]

    def affected(self, service_id: ServiceId) -> tuple[CheckId, ...]:
        """Who looks at this service's checks; everybody looks at the node's."""
        if not service_id:
            return tuple(self._targets)
        return tuple(self._followers.get(service_id, ()))

    def follow(
        self, state: LocalState, changed: Iterable[ServiceId], own: Iterable[CheckId] = ()
    ) -> Iterator[tuple[CheckId, str, str]]:
        """What alias checks become after the checks of some services changed, one by one.

        The caller puts each result into ``state`` before it takes the next. ``own`` are alias
        checks to look at in any case.
        """
        queue = deque(own)
        for service_id in changed:
            queue.extend(self.affected(service_id))
        looks: dict[CheckId, int] = {}
        while queue:
            check_id = queue.popleft()
            check, target = state.checks.get(check_id), self._targets.get(check_id)
            if check is None or target is None or looks.get(check_id, 0) >= LOOKS_MAX:
                continue
            looks[check_id] = looks.get(check_id, 0) + 1
            status, output = self._look(state, target)
            if (check.record.status, check.record.output) != (status, output):
                yield check_id, status, output
                queue.extend(self.affected(check.record.service_id))

    @staticmethod
    def _look(state: LocalState, check: CheckDefinition) -> tuple[str, str]:
        target = check.alias_service
        if target and target not in state.services:
            return target_missing(target, check.alias_node)
        checks = state.checks_of(target) if target else ()
        return judge(check.id, (c.record for c in (*checks, *state.checks_of(ServiceId("")))))


def target_missing(service_id: ServiceId, node: str) -> tuple[str, str]:
    """Status and output while the service is not registered. ``node`` as the check names it."""
    return CRITICAL, f"Service {service_id} could not be found on node {node}"


def judge(own_id: CheckId, checks: Iterable[Check]) -> tuple[str, str]:
    """Status and output over the target's checks: its own and those of the node."""
    worst: Check | None = None
    any_passing = False
    for check in checks:
        if check.id == own_id:
            continue
        if check.status == CRITICAL:
            return CRITICAL, _failing(check)
        if check.status == WARNING:
            worst = worst or check
        else:
            any_passing = True
    if worst is not None:
        return WARNING, _failing(worst)
    return PASSING, "All checks passing." if any_passing else "No checks found."


def _failing(check: Check) -> str:
    quoted = json.dumps(check.name, ensure_ascii=False)
    return f"Aliased check {quoted} failing: {check.output}"
