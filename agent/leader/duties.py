"""Runs the leader's duties while we lead: membership into the catalog, and what others add.

Owns the tasks of one term and the retrying; what to write is reconcile.py's. A member's change is
dealt with at once, everything again once a minute. Nothing here outlives ``stop_leading``.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from agent.backend import Ask, Backend, Consistency
from agent.dates import date
from agent.errors import AgentError
from agent.leader.reconcile import ABSENCE_GRACE_S, CatalogView, Decision, Living, pieces, plan
from agent.tasks import TaskOwner
from gossip import Member, MemberEvent, MemberEventKind
from raftstore.commands import Deregister, Rejected
from raftstore.errors import StoreError
from raftstore.queries import (
    ChecksInState,
    ListNodes,
    NodeChecks,
    NodeServices,
    ServiceNodes,
)
from raftstore.records import CONSUL_SERVICE, SERF_HEALTH, Json, NodeName, ServiceName

log = logging.getLogger("lictor.agent.leader")

#: Agent contract, section 6: all members are looked at this often, in seconds.
FULL_INTERVAL_S = 60.0
#: The next full look when the catalog refused a member.
REFUSED_INTERVAL_S = 10.0
#: After a failed round; doubled up to the maximum while failures go on.
RETRY_MIN_S = 0.5
RETRY_MAX_S = 10.0
#: Decisions remembered for each member, and members remembered.
DECISIONS_MAX = 20
EXPLAINED_MAX = 4096
#: A restricted look at so many members costs as much as a look at all.
SINGLE_LOOKS_MAX = 64

_REAPED = float("-inf")


@dataclass(slots=True)
class DutyStats:
    """Counters since start."""

    terms_led: int = 0
    reconciles: int = 0
    reconcile_failures: int = 0
    writes: int = 0


class LeaderDuties:
    """What this server does while it leads. Create once; start and stop with each term."""

    def __init__(
        self,
        backend: Backend,
        *,
        members: Callable[[], Sequence[Member]],
        own_name: NodeName,
        datacenter: str,
        extra: Mapping[str, Callable[[], Awaitable[object]]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        unix_clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self._backend = backend
        self._members = members
        self._own_name = own_name
        self._datacenter = datacenter
        self._extra = dict(extra or {})
        self._now = clock
        self._unix_now = unix_clock
        self._rng = rng or random.Random()
        self._owner = TaskOwner()
        self._tasks: list[asyncio.Task[None]] = []
        self._changed: dict[str, None] = {}  # members to look at, in lower case
        self._absent_since: dict[str, float] = {}
        self._refused = False
        self._wake = asyncio.Event()
        self._decisions: dict[str, deque[Json]] = {}
        self.stats = DutyStats()

    @property
    def leading(self) -> bool:
        """Whether the duties of a term are being done."""
        return bool(self._tasks)

    # ---- term ----

    def start_leading(self) -> None:
        """A term begins. Doing it twice changes nothing."""
        if self._tasks:
            return
        self.stats.terms_led += 1
        log.info("leadership acquired, duties begin")
        self._begin()

    def stop_leading(self) -> None:
        """The term is over. Doing it twice changes nothing."""
        if not self._tasks:
            return
        log.info("leadership lost, duties end")
        self._end()

    def state_replaced(self) -> None:
        """An archive was restored: whoever leads looks at everything as in a term that begins."""
        if self._tasks:
            log.info("state restored, duties begin anew")
            self._end()
            self._begin()

    def _begin(self) -> None:
        self._changed.clear()
        self._absent_since.clear()
        self._wake.clear()
        self._tasks = [self._owner.spawn(self._reconcile_for_ever(), name="reconcile")]
        self._tasks += [
            self._owner.spawn(self._until_done(name, duty), name=f"leader duty {name}")
            for name, duty in self._extra.items()
        ]

    def _end(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()

    async def stop(self) -> None:
        """The agent ends."""
        self.stop_leading()
        await self._owner.close()

    def member_changed(self, event: MemberEvent) -> None:
        """Gossip has news of a member. Without leadership they are the leader's business."""
        if not self._tasks:
            return
        name = event.member.name.lower()
        if event.kind is MemberEventKind.REAP:
            self._absent_since[name] = _REAPED
        else:
            self._absent_since.pop(name, None)
        self._changed[name] = None
        self._wake.set()

    def explain_member(self, name: NodeName) -> list[Json]:
        """What this server decided about a member and why, newest last."""
        return list(self._decisions.get(name.lower(), ()))

    # ---- membership ----

    async def _reconcile_for_ever(self) -> None:
        """One full look at the start, one a minute, and one at each member that changes."""
        full_at, failures, first = self._now(), 0, True
        while True:
            full = full_at <= self._now() or len(self._changed) > SINGLE_LOOKS_MAX
            changed, self._changed = self._changed, {}
            self._wake.clear()
            try:
                if full:
                    # The first read waits until all of the former terms is applied here.
                    await self._look_at_all(barrier=first)
                    full_at, first = self._now() + FULL_INTERVAL_S, False
                else:
                    await self._look_at(changed)
                if self._refused:
                    full_at = min(full_at, self._now() + REFUSED_INTERVAL_S)
                failures, self._refused = 0, False
            except (StoreError, AgentError) as error:
                failures += 1
                self._changed = changed | self._changed
                self._failed(error, failures)
                await asyncio.sleep(self._pause(failures))
                continue
            except Exception:  # a defect in one look must not end the duty for the whole term
                failures += 1
                self.stats.reconcile_failures += 1
                log.exception("reconcile broke off")
                await asyncio.sleep(self._pause(failures))
                continue
            await self._wait(min([full_at, *self._grace_ends()]))
            if self._grace_over():
                full_at = self._now()

    async def _wait(self, until: float) -> None:
        if self._changed:
            return
        try:
            async with asyncio.timeout(max(0.0, until - self._now())):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _grace_ends(self) -> list[float]:
        return [
            since + ABSENCE_GRACE_S for since in self._absent_since.values() if since != _REAPED
        ]

    def _grace_over(self) -> bool:
        now = self._now()
        return any(end <= now for end in self._grace_ends())

    def _pause(self, failures: int) -> float:
        pause: float = min(RETRY_MAX_S, RETRY_MIN_S * 2 ** min(failures - 1, 10))
        return pause * (0.5 + self._rng.random() / 2)

    def _failed(self, error: Exception, failures: int) -> None:
        self.stats.reconcile_failures += 1
        log.warning("failed to reconcile members attempt=%d error=%s", failures, error)

    async def _look_at_all(self, *, barrier: bool) -> None:
        fresh = Ask(consistency=Consistency.CONSISTENT if barrier else Consistency.DEFAULT)
        nodes = (await self._backend.ask(ListNodes(), fresh)).value
        checks = (await self._backend.ask(ChecksInState("any"))).value
        consul = ServiceNodes(service=ServiceName(CONSUL_SERVICE))
        services = (await self._backend.ask(consul)).value
        view = CatalogView(
            {node.name.lower(): node for node in nodes},
            {check.node.lower(): check for check in checks if check.id == SERF_HEALTH},
            {
                entry.node.name.lower(): entry.service
                for entry in services
                if entry.service.id == CONSUL_SERVICE
            },
        )
        self.stats.reconciles += 1
        absent = await self._carry_out(self._members(), view)
        now = self._now()
        self._absent_since = {name: self._absent_since.get(name, now) for name in absent}

    async def _look_at(self, names: Mapping[str, None]) -> None:
        everybody = self._members()
        members = {member.name.lower(): member for member in everybody}
        living = Living.of(everybody)
        # An agent that was renamed is looked at under both its names.
        ids = [members[name].tags.get("id", "") for name in names if name in members]
        for name in dict.fromkeys([*names, *(n for i in ids for n in living.names.get(i, ()))]):
            node_name = NodeName(name)
            there = (await self._backend.ask(NodeServices(node_name))).value
            checks = (await self._backend.ask(NodeChecks(node_name))).value
            health = next((check for check in checks if check.id == SERF_HEALTH), None)
            consul = next((s for s in there.services if s.id == CONSUL_SERVICE), None)
            view = CatalogView(
                {} if there.node is None else {name: there.node},
                {} if health is None else {name: health},
                {} if consul is None else {name: consul},
            )
            member = members.get(name)
            for gone in await self._carry_out([member] if member else [], view, living):
                self._absent_since.setdefault(gone, self._now())

    async def _carry_out(
        self, members: Sequence[Member], view: CatalogView, living: Living | None = None
    ) -> frozenset[str]:
        """Write what has to change; gives the nodes that may turn out to be gone."""
        planned = plan(
            members,
            view,
            own_name=self._own_name,
            datacenter=self._datacenter,
            absent_since=self._absent_since,
            now=self._now(),
            living=living,
        )
        for decision in planned.decisions:
            if isinstance(decision.command, Deregister):
                await self._thin_out(decision.command.node)
            outcome = await self._backend.change(decision.command)
            self.stats.writes += 1
            if isinstance(outcome, Rejected):
                # One node in the way must not keep the others out; a full look soon tries again.
                self._refused = True
                self._remember(decision, outcome.reason)
                log.warning(
                    "catalog refused a member node=%s reason=%s", decision.node, outcome.reason
                )
                continue
            self._remember(decision, "")
            log.info("member reconciled node=%s cause=%s", decision.node, decision.cause)
        return planned.absent

    async def _thin_out(self, node: NodeName) -> None:
        """Before a node goes, most of its services. If that fails, they go with it in one step."""
        for piece in pieces((await self._backend.ask(NodeServices(node))).value):
            await self._backend.change(piece)
            self.stats.writes += 1

    def _remember(self, decision: Decision, refusal: str) -> None:
        key = decision.node.lower()
        if key not in self._decisions and len(self._decisions) >= EXPLAINED_MAX:
            del self._decisions[next(iter(self._decisions))]
        self._decisions.setdefault(key, deque(maxlen=DECISIONS_MAX)).append(
            {
                "At": date(self._unix_now()),
                "Node": decision.node,
                "Cause": decision.cause,
                "Command": type(decision.command).__name__,
                "Refused": refusal,
            }
        )

    # ---- other duties ----

    async def _until_done(self, name: str, duty: Callable[[], Awaitable[object]]) -> None:
        """Do it once in this term, however often it has to be tried."""
        failures = 0
        while True:
            try:
                await duty()
            except (StoreError, AgentError) as error:
                failures += 1
                log.warning("leader duty failed duty=%s error=%s", name, error)
            except Exception:  # a defect in one duty must not end the others
                failures += 1
                log.exception("leader duty broke duty=%s", name)
            else:
                return
            await asyncio.sleep(self._pause(failures))
