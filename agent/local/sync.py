"""Keeps the catalog in step with this host: the one task that writes local state to the servers.

Owns the timing of rounds and the writes of one round; what to write is antientropy.py's. Changes
that come while a round runs are gathered for the next one. Errors of either sort are retried:
registrations are idempotent, so one that happened after all does no harm.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.backend import Ask, Backend, Consistency
from agent.backend.acting import ACTING
from agent.errors import ForwardError, RequestError
from agent.local.antientropy import (
    Action,
    AdoptTags,
    FullSyncClock,
    RemoveCheck,
    RemoveService,
    SyncCheck,
    SyncNode,
    SyncService,
    command,
    mark_done,
    note,
    pending,
    plan,
)
from agent.local.revocation import Missing, missing, revoked_checks, revoked_services
from agent.local.services import LocalCheck, LocalService, LocalState
from raftstore.commands import Rejected
from raftstore.errors import EncodeError, NotInHistory, StoreError
from raftstore.queries import At, Change, History, NodeChecks, NodeServices
from raftstore.records import Check, Node, NodeName, Service
from raftstore.slices import in_slices

log = logging.getLogger("lictor.agent.anti_entropy")
#: Tools wait for `agent: Synced node info` (cli-config contract A2), so these come from the agent.
agent_log = logging.getLogger("lictor.agent")

#: A full sync may read what is this old, in seconds (agent contract 4.2).
STALE_MAX_S = 2.0
#: Pages of the journal of changes that are read to find out why something is missing.
JOURNAL_PAGES_MAX = 8
#: The status of a request whose token does not allow it.
_FORBIDDEN = 403
#: Writes of one round that are under way together; the log batches them anyway.
WRITES_MAX = 16


@dataclass(slots=True)
class SyncStats:
    """Counters since start."""

    full_syncs: int = 0
    partial_syncs: int = 0
    sync_failures: int = 0
    writes: int = 0


class Registering(Protocol):
    """Chooses the token of a registration (agent/acl/agent_tokens.py)."""

    def registering(self, own: str, *, configured: bool) -> str: ...
    def on_change(self, told: Callable[[], None]) -> None: ...


class _Refused(Exception):
    """The state machine turned a write down; the next full sync tries again."""


class Syncer:
    """Runs rounds until it is cancelled."""

    def __init__(
        self,
        state: LocalState,
        backend: Backend,
        *,
        node: Callable[[], Node],
        members: Callable[[], int],
        rng: random.Random,
        clock: Callable[[], float],
        on_failure: Callable[[Exception], None] = lambda _: None,
        on_revoked: Callable[[Missing], Awaitable[None]] | None = None,
        on_compared: Callable[[NodeName], None] = lambda _: None,
        tokens: Registering | None = None,
    ) -> None:
        """``on_revoked`` removes here what a request has removed from the catalog; without it
        that is written again. ``on_compared`` is told the name under which the catalog now has
        all, if the host had others before. ``tokens`` says with whose token a service or check is
        written."""
        self._tokens = tokens
        self._on_failure = on_failure
        self._on_revoked = on_revoked
        self._on_compared = on_compared
        #: What the catalog may still call this host (former.py).
        self.former_names: tuple[NodeName, ...] = ()
        self._compared_at: At | None = None
        self._state = state
        self._backend = backend
        self._node = node
        self._members = members
        self._now = clock
        self._full = FullSyncClock(rng, clock())
        self._wake = asyncio.Event()
        self._wanted = 0  # counts changes; a round that begins later covers them
        self._covered = 0
        self._round_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.stats = SyncStats()

    def changed(self) -> None:
        """Local state changed: a round is due at once."""
        self._wanted += 1
        self._wake.set()

    def trigger_full(self) -> None:
        """Compare with the whole catalog at once."""
        self._full.trigger(self._now())
        self._wake.set()

    def trigger_full_soon(self) -> None:
        """The same after what all agents notice in one instant: they must not all come at once."""
        self._full.server_appeared(self._now(), self._members())
        self._wake.set()

    async def covered(self, timeout_s: float) -> bool:
        """Wait until a round has dealt with all changes so far; says whether all are written.

        False after ``timeout_s`` or when the round broke off: the changes follow later.
        """
        wanted = self._wanted
        try:
            async with asyncio.timeout(timeout_s):
                while self._covered < wanted:
                    await asyncio.shield(self._round_over)
        except TimeoutError:
            return False
        return self._state.in_sync

    async def run(self) -> None:
        """Round after round, for ever."""
        while True:
            await self._wait()
            self._wake.clear()
            wanted = self._wanted
            # What was read from disk is told only after a look at what the catalog says of it.
            full = self._full.deadline <= self._now() or not self.stats.full_syncs
            await self._round(full=full)
            self._covered = wanted
            self._round_over.set_result(None)
            self._round_over = asyncio.get_running_loop().create_future()

    async def _wait(self) -> None:
        """Until something changed, output was held back long enough, or a full sync is due."""
        held = self._state.deadline
        deadline = self._full.deadline if held is None else min(held, self._full.deadline)
        try:
            async with asyncio.timeout(max(0.0, deadline - self._now())):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _round(self, *, full: bool) -> None:
        try:
            if full:
                await self._compare()
                self.stats.full_syncs += 1
            else:
                self._state.release_held(self._now())
                self.stats.partial_syncs += 1
            await self._carry_out(await in_slices(pending(self._state, self._node())))
        except (StoreError, ForwardError, RequestError, _Refused) as error:
            self.stats.sync_failures += 1
            self._full.failed(self._now(), self._members())
            log.warning("failed to sync remote state full=%s error=%s", full, error)
            self._on_failure(error)
        except Exception:  # a defect must not end the keeping in step for good
            self.stats.sync_failures += 1
            self._full.failed(self._now(), self._members())
            log.exception("sync broke off full=%s", full)
        else:
            if full:
                self._full.succeeded(self._now(), self._members())
                if self.former_names:
                    self.former_names = ()
                    self._on_compared(self._node().name)

    async def _compare(self) -> None:
        """Find out all differences and note them, so that none is lost if a write fails."""
        name = self._node().name
        fresh = Ask(consistency=Consistency.STALE, max_stale_s=STALE_MAX_S)
        services = await self._backend.ask(NodeServices(name), fresh)
        checks = await self._backend.ask(NodeChecks(name), fresh)
        if self._on_revoked is not None:
            revoked = await self._revoked(services.value.services, checks.value)
            if revoked:
                await self._on_revoked(revoked)
        before = self._state.begin_comparison()
        try:
            steps = plan(self._state, self._node(), services.value, checks.value)
            actions = await in_slices(steps)
        except BaseException:
            self._state.abandon_comparison(before)
            raise
        note(self._state, actions)
        # One index back: what was changed at this very index may not be in the answers yet.
        index = max(1, min(services.index, checks.index) - 1)
        self._compared_at = At(index=index)
        self._state.compared_index = index
        if not any(isinstance(action, SyncNode) for action in actions):
            log.debug("node info in sync")

    async def _revoked(self, services: Sequence[Service], checks: Sequence[Check]) -> Missing:
        """What is missing in the catalog because somebody removed it there on purpose."""
        lost = missing(self._state, services, checks)
        found = Missing()
        for name in (self._node().name, *self.former_names) if lost else ():
            of_services = await self._changes("services", f"{name.lower()}/")
            if of_services is None:
                return Missing()
            of_nodes = await self._changes("nodes", name.lower()) or ()
            of_checks = await self._changes("checks", f"{name.lower()}/") if lost.checks else ()
            found |= Missing(
                revoked_services(self._state, lost.services, of_services, of_nodes, name),
                revoked_checks(
                    self._state, lost.checks, of_checks or (), (*of_services, *of_nodes), name
                ),
            )
        return found

    async def _changes(self, table: str, key: str) -> Sequence[Change] | None:
        """Since the last comparison, oldest first; None if the journal does not reach back."""
        found: list[Change] = []
        since = self._compared_at
        fresh = Ask(consistency=Consistency.STALE, max_stale_s=STALE_MAX_S)
        for _ in range(JOURNAL_PAGES_MAX):
            try:
                page = await self._backend.ask(History(since=since, table=table, key=key), fresh)
            except NotInHistory:
                if since is None:
                    return None
                self._compared_at = since = None  # as far back as is known
                continue
            except RequestError as error:
                if error.status != _FORBIDDEN:
                    raise
                return None  # who may not know why something is missing writes it again
            found += page.value.changes
            if not page.value.more or not found:
                return found
            since = At(index=found[-1].index)
        return None

    async def _carry_out(self, actions: Sequence[Action]) -> None:
        """In this order, each kind finished before the next: a check needs its service, a service
        its node, and what replaces something comes before that goes."""
        refused: Exception | None = None
        for kinds in ((SyncNode,), (SyncService,), (SyncCheck,), (RemoveService, RemoveCheck)):
            batch = [action for action in actions if isinstance(action, kinds)]
            for start in range(0, len(batch), WRITES_MAX):
                part = batch[start : start + WRITES_MAX]
                results = await asyncio.gather(
                    *(self._write(action) for action in part), return_exceptions=True
                )
                for result in results:
                    if isinstance(result, _Refused | EncodeError) and kinds != (SyncNode,):
                        refused = result  # one bad entry must not keep back the others
                    elif isinstance(result, BaseException):
                        raise result
        if refused is not None:
            raise refused

    async def _write(self, action: Action) -> None:
        change = command(action, self._node(), node_in_sync=self._state.node_in_sync)
        if change is None:
            return
        if self._tokens is not None:
            # Each write is a task of its own, and so is what is set here.
            ACTING.set(self._secret(self._tokens, action))
        try:
            outcome = await self._backend.change(change)
        except RequestError as error:
            if error.status != _FORBIDDEN:
                raise
            # Asking again and again changes nothing; the next comparison tries once more. Services
            # may have tokens that allow more than the agent's.
            log.warning("not allowed to tell the catalog action=%s error=%s", _name(action), error)
            self._on_failure(error)
            mark_done(self._state, action)
            return
        self.stats.writes += 1
        if isinstance(outcome, Rejected):
            raise _Refused(outcome.reason)
        mark_done(self._state, action, index=outcome.index)
        _log_done(action)

    def _secret(self, tokens: Registering, action: Action) -> str | None:
        """With whose token an action is carried out; None for the agent's own."""
        held: LocalService | LocalCheck | None = None
        match action:
            case SyncService():
                held = self._state.services.get(action.service.id)
            case SyncCheck():
                held = self._state.checks.get(action.check.id)
        if held is None:
            return None
        return tokens.registering(held.token, configured=held.source == "local")


def _name(action: Action) -> str:
    """What an action is about, for the log."""
    match action:
        case SyncService():
            return f"register service {action.service.id}"
        case SyncCheck():
            return f"register check {action.check.id}"
        case RemoveService():
            return f"deregister service {action.service_id}"
        case RemoveCheck():
            return f"deregister check {action.check_id}"
        case _:
            return "node"


def _log_done(action: Action) -> None:
    match action:
        case SyncNode():
            agent_log.info("Synced node info")
        case SyncService():
            agent_log.info("Synced service: service=%s", action.service.id)
            for check in action.checks:
                agent_log.info("Synced check: check=%s", check.id)
        case SyncCheck():
            agent_log.info("Synced check: check=%s", action.check.id)
        case RemoveService():
            agent_log.info("Deregistered service: service=%s", action.service_id)
        case RemoveCheck():
            agent_log.info("Deregistered check: check=%s", action.check_id)
        case AdoptTags():
            pass
