"""Ends sessions whose TTL is over, and takes renewals, while this server leads.

Owns the loop, the talking to the store and the waiting; when a TTL is over is expiry.py's. An end
is proposed here, in our own term, and never passed on to another server: a later leader has given
the session its whole TTL again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from agent.backend.operations import RENEW_SESSION, SESSION_CLOCK
from agent.backend.rounds import ReadRounds
from agent.backend.sessions import SessionClock, encode_clock, encode_renewed, read_id
from agent.leader.expiry import CALM_LOOKS, RETRY_S, Calm, Expiry, Since, Standing
from agent.tasks import TaskOwner
from raftstore import wire
from raftstore.commands import Applied, Outcome, SessionDestroy
from raftstore.errors import NoLeader, QueueFull, StoreError
from raftstore.queries import Answer, GetSession, Query, SessionTimers
from raftstore.records import Actor, Session

log = logging.getLogger("lictor.agent.sessions")

T = TypeVar("T")

#: Why a session ended, as it stands in its record.
CAUSE = "TTL expired"
#: Ends on their way through the log at once (they may all come back in one turn of the loop), and
#: seconds that one may take.
ENDS_MAX = 64
END_TIMEOUT_S = 5.0
#: Sessions looked at before other work has its turn: about two milliseconds.
SLICE = 256
#: Sessions that are gone may stand in memory beside as many that live, and these.
GONE_SPARE = 1024
#: Between two looks whether this process is prompt again, and how long it may take to be. After
#: that sessions end in any case: an overloaded leader must not keep locks for ever.
CALM_STEP_S = 0.015
CALM_WAIT_MAX_S = 5.0
#: Where no watch can be had, sessions are looked for this often, in seconds.
UNWATCHED_S = 1.0
_SECOND_NS = 1_000_000_000


class SessionStore(Protocol):
    """The part of raftstore.store.Store that this needs."""

    def answer(self, query: Query[T]) -> Answer[T]: ...
    def watch_once(self, query: Query[Any], callback: Callable[[], None]) -> Callable[[], None]: ...
    async def barrier(self, *, timeout_s: float) -> None: ...
    def propose_soon(
        self, payload: bytes, *, timeout_s: float, done: Callable[[Outcome | StoreError], None]
    ) -> None: ...


@dataclass(slots=True)
class SessionStats:
    """Counters since start. ``held`` are the TTLs that are counted now, ``ends_open`` is what is
    on its way; ``stalls`` are ends that waited for this process to be prompt again."""

    renewals: int = 0
    renewals_too_late: int = 0
    expired: int = 0
    failures: int = 0
    stalls: int = 0
    timers_held: int = 0
    ends_open: int = 0


class SessionKeeper:
    """Looks after sessions with a TTL. ``run`` is one term of the leader."""

    def __init__(
        self,
        store: SessionStore,
        *,
        node: str,
        hold_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``node`` acts in the journal; a renewal waits for a quorum up to ``hold_s``."""
        self._store = store
        self._actor = Actor(node=node)
        self._node = node
        self._now = clock
        self._owner = TaskOwner()
        self._rounds = ReadRounds(lambda: store.barrier(timeout_s=hold_s), self._owner)
        self._expiry: Expiry | None = None
        self._calm = Calm()
        self._known_index = 0
        self._wake = asyncio.Event()
        self._outcomes: dict[str, list[asyncio.Future[None]]] = {}
        self.stats = SessionStats()

    @property
    def methods(self) -> dict[str, Callable[[bytes, float], Awaitable[bytes]]]:
        """What other agents may ask of the leader, by method."""
        return {RENEW_SESSION: self._renew_asked, SESSION_CLOCK: self._clock_asked}

    async def close(self) -> None:
        """The agent ends."""
        self._rounds.close()
        await self._owner.close()

    # ---- one term ----

    async def run(self) -> None:
        """Until the term is over (by cancellation). Every session begins with its whole TTL."""
        expiry = self._expiry = Expiry()
        self._known_index = 0
        since = Since.LED
        try:
            await self._caught_up()
            while True:
                self._wake.clear()
                cancel = self._watch()
                try:
                    await self._learn(expiry, since)
                    since = Since.CREATED
                    await self._end_what_is_over(expiry)
                    await self._pause(expiry, watched=cancel is not None)
                finally:
                    if cancel is not None:
                        cancel()
        finally:
            self._expiry = None
            self.stats.timers_held = self.stats.ends_open = 0
            for session_id in list(self._outcomes):
                self._told_waiters(session_id)

    async def _caught_up(self) -> None:
        """Until all of the former terms is applied here, so that the first look shows it."""
        while True:
            try:
                return await self._store.barrier(timeout_s=END_TIMEOUT_S)
            except StoreError as error:
                log.info("sessions are not counted yet error=%s", error)
                await asyncio.sleep(RETRY_S)

    def _watch(self) -> Callable[[], None] | None:
        try:
            return self._store.watch_once(SessionTimers(), self._wake.set)
        except QueueFull as error:
            log.warning("sessions are not watched error=%s", error)
            return None

    async def _pause(self, expiry: Expiry, *, watched: bool) -> None:
        """Until a session may be over, or there is news of sessions or of an end."""
        self.stats.timers_held, self.stats.ends_open = len(expiry), expiry.on_their_way
        at = expiry.next_at() if expiry.on_their_way < ENDS_MAX else None
        wait_s = None if at is None else max(0.0, at - self._now())
        if not watched:
            wait_s = UNWATCHED_S if wait_s is None else min(wait_s, UNWATCHED_S)
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _learn(self, expiry: Expiry, since: Since) -> None:
        """Take up the sessions that began since the last look, and drop many that are gone."""
        while True:
            query = SessionTimers(after=self._known_index, limit=SLICE)
            found = self._store.answer(query).value
            now = self._now()
            for timer in found.timers:
                expiry.learn(timer.id, timer.ttl_ns / _SECOND_NS, now, since)
                self._known_index = timer.create_index
            if len(found.timers) < SLICE:
                break
            await asyncio.sleep(0)
        if len(expiry) > 2 * found.count + GONE_SPARE:
            await self._drop_gone(expiry)

    async def _drop_gone(self, expiry: Expiry) -> None:
        for at, session_id in enumerate(expiry.ids()):
            if at % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            timer = expiry.timer(session_id)
            if timer is not None and not timer.ending and self._find(session_id) is None:
                expiry.forget(session_id)

    def _find(self, session_id: str) -> Session | None:
        return self._store.answer(GetSession(session_id)).value

    # ---- ends ----

    async def _end_what_is_over(self, expiry: Expiry) -> None:
        while expiry.on_their_way < ENDS_MAX and expiry.over(self._now(), looks_max=SLICE):
            await self._until_calm()
            # Renewals that were waiting have now been taken.
            due = expiry.due(self._now(), count_max=ENDS_MAX - expiry.on_their_way, looks_max=SLICE)
            for session_id in due:
                self._end(expiry, session_id)
            await asyncio.sleep(0)

    async def _until_calm(self) -> None:
        began, looks = time.monotonic(), 0
        while not self._calm.look(time.monotonic()):
            looks += 1
            if looks == CALM_LOOKS + 1:
                self.stats.stalls += 1
            if time.monotonic() - began > CALM_WAIT_MAX_S:
                log.warning("sessions end although this process is not prompt")
                return
            await asyncio.sleep(CALM_STEP_S)

    def _end(self, expiry: Expiry, session_id: str) -> None:
        if self._find(session_id) is None:
            expiry.forget(session_id)
            self._told_waiters(session_id)
            return
        payload = wire.encode_command(SessionDestroy(session_id, CAUSE), actor=self._actor)
        self._store.propose_soon(
            payload, timeout_s=END_TIMEOUT_S, done=partial(self._ended, expiry, session_id)
        )

    def _ended(self, expiry: Expiry, session_id: str, result: Outcome | StoreError) -> None:
        """The outcome of an end; a callback of the store, so it only notes it."""
        if isinstance(result, StoreError):
            self.stats.failures += 1
            log.warning(
                "session not ended id=%s definite=%s error=%s", session_id, result.definite, result
            )
            expiry.failed(session_id, self._now(), definite=result.definite)
        else:
            if isinstance(result, Applied) and result.value:
                self.stats.expired += 1
                log.info("session ended id=%s cause=%s", session_id, CAUSE)
            expiry.forget(session_id)
        if self._expiry is expiry:
            self._told_waiters(session_id)
            self._wake.set()

    def _told_waiters(self, session_id: str) -> None:
        for waiter in self._outcomes.pop(session_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    # ---- what is asked of the leader ----

    async def _renew_asked(self, payload: bytes, timeout_s: float) -> bytes:
        session_id = read_id(payload)
        try:
            async with asyncio.timeout(timeout_s):
                return encode_renewed(session_id, await self.renew(session_id))
        except TimeoutError:
            raise NoLeader("leadership was not confirmed in time") from None

    async def renew(self, session_id: str) -> Session | None:
        """Count a session's TTL from now; the session, or None when it is not there.

        It counts from the arrival, so that a session cannot end while its renewal waits for the
        quorum. Raises NoLeader unless leadership is confirmed afterwards.
        """
        expiry, now = self._leading(), self._now()
        standing = expiry.renew(session_id, now)
        await self._rounds.fresh()
        while True:
            if self._expiry is not expiry:
                raise NoLeader("this server does not lead any more")
            session = self._find(session_id)
            if session is None:
                self.stats.renewals_too_late += 1
                return None
            if not session.ttl_ns:
                return session
            if standing is Standing.UNKNOWN:  # it is younger than our last look
                expiry.learn(session_id, session.ttl_ns / _SECOND_NS, self._now(), Since.CREATED)
            elif standing is Standing.RUNNING:
                self.stats.renewals += 1
                return session
            else:
                await self._outcome_of(session_id)
            standing = expiry.renew(session_id, self._now())

    async def _outcome_of(self, session_id: str) -> None:
        """Until an end that is on its way has been tried."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outcomes.setdefault(session_id, []).append(waiter)
        await waiter

    def _leading(self) -> Expiry:
        if self._expiry is None:
            raise NoLeader("this server does not lead")
        return self._expiry

    async def _clock_asked(self, payload: bytes, timeout_s: float) -> bytes:
        return encode_clock(self.clock(read_id(payload)))

    def clock(self, session_id: str) -> SessionClock:
        """How a session's TTL stands. Raises NoLeader."""
        timer, now = self._leading().timer(session_id), self._now()
        if timer is None:
            return SessionClock(leader=self._node)
        return SessionClock(
            leader=self._node,
            known=True,
            ttl_s=timer.ttl_s,
            left_s=max(0.0, timer.ends_at - now),
            since=timer.since.value,
            since_ago_s=now - timer.counted_from,
            renewals=timer.renewals,
            renewed_ago_s=tuple(now - at for at in timer.recent),
            ending=timer.ending,
        )
