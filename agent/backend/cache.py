"""Answers that are kept up to date in the background, for readers who ask for cached ones.

Owns one task per kept answer, which asks a server to tell when it changes; so a thousand clients
that watch the same thing cost the servers one held question. Bounded in answers: the longest unused
goes first, and one that nobody has asked for in ``IDLE_MAX_S`` is forgotten.

While no server answers, readers get the last answer with its age, unless they set a bound to that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sized
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from agent.backend import Ask, Backend, Reply
from agent.errors import ForwardError, RequestError
from agent.rates import Bucket
from agent.tasks import TaskOwner
from raftstore.errors import StoreError
from raftstore.queries import Query

T = TypeVar("T")

#: Rows of all answers together, as one instance is; a service of a thousand counts as many.
ROWS_MAX = 200_000
#: An answer that nobody has asked for in this time is kept no longer, in seconds.
IDLE_MAX_S = 3600.0
#: How long a server holds the question whether an answer has changed, in seconds.
HOLD_S = 300.0
#: Pauses after failures, in seconds.
PAUSE_MIN_S = 0.25
PAUSE_MAX_S = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """What a reader accepts (`Cache-Control`). ``max_age_s``: an older answer is fetched anew; with
    0 any is. ``stale_if_error_s``: if that fails, one that is no older than this will do."""

    max_age_s: float | None = None
    stale_if_error_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Cached(Generic[T]):
    """An answer; with ``hit`` it was here already, ``age_s`` seconds ago it was surely so."""

    reply: Reply[T]
    hit: bool
    age_s: float = 0.0


@dataclass(slots=True)
class CacheStats:
    """Counters since start, and how many answers are kept now."""

    hits: int = 0
    misses: int = 0
    refresh_failures: int = 0
    answers_current: int = 0


@dataclass(slots=True)
class _Kept:
    reply: Reply[Any]
    at: float
    used_at: float
    rows: int = 0
    #: Since when it is not known to be so; None while a server would tell of a change.
    unsure_since: float | None = None
    task: asyncio.Task[None] | None = None
    waiting: list[asyncio.Future[None]] = field(default_factory=list)


class AnswerCache:
    """Kept answers by query."""

    def __init__(
        self,
        backend: Backend,
        *,
        answers_max: int,
        away_s: Callable[[], float],
        rng: random.Random,
        fetch_rate: float = 0.0,
        fetch_burst: int = 2,
    ) -> None:
        """``away_s`` says for how many seconds no server has answered; 0 while one does. An answer
        that keeps changing is fetched ``fetch_rate`` times a second, 0 is no bound."""
        self._fetch_rate, self._fetch_burst = fetch_rate, fetch_burst
        self._backend = backend
        self._max = answers_max
        self._away_s = away_s
        self._rng = rng
        self._kept: dict[Query[Any], _Kept] = {}
        self._rows = 0
        self._fetching: dict[Query[Any], asyncio.Task[_Kept]] = {}
        self._owner = TaskOwner()
        self._stats = CacheStats()

    def stats(self) -> CacheStats:
        """Counters."""
        self._stats.answers_current = len(self._kept)
        return self._stats

    async def get(
        self, query: Query[T], options: Ask, freshness: Freshness = Freshness()
    ) -> Cached[T]:
        """The kept answer, or one that is fetched and kept from now on.

        With ``options.min_index`` waits for a newer one, ``options.wait_s`` at most. Raises what
        ``Backend.ask`` does.
        """
        kept, hit = self._kept.get(query), True
        if kept is None or self._is_too_old(kept, freshness.max_age_s):
            try:
                kept, hit = await self._fetched(query, options), False
            except (StoreError, ForwardError):
                if kept is None or self._age(kept) > freshness.stale_if_error_s:
                    raise
        self._use(query, kept)
        if options.min_index and kept.reply.index <= options.min_index:
            await self._newer(kept, options)
        if hit:
            self._stats.hits += 1
        return Cached(kept.reply, hit=hit, age_s=self._age(kept))

    async def close(self) -> None:
        """Keep nothing up to date any more."""
        self._kept.clear()
        await self._owner.close()

    def drop(self) -> None:
        """The state was replaced by another one: what is kept may have a higher index than it."""
        while self._kept:
            self._forget(next(iter(self._kept)))

    # ---- inside ----

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _age(self, kept: _Kept) -> float:
        """While servers answer, they would have told of a change."""
        if kept.unsure_since is not None:
            return self._now() - kept.unsure_since
        return min(self._away_s(), self._now() - kept.at)

    def _is_too_old(self, kept: _Kept, max_age_s: float | None) -> bool:
        return max_age_s is not None and (max_age_s <= 0 or self._age(kept) > max_age_s)

    def _use(self, query: Query[Any], kept: _Kept) -> None:
        kept.used_at = self._now()
        if self._kept.pop(query, None) is not None:
            self._kept[query] = kept  # used last

    async def _fetched(self, query: Query[Any], options: Ask) -> _Kept:
        """Ask a server, once for all who want the same now."""
        task = self._fetching.get(query)
        if task is None:
            self._stats.misses += 1
            task = self._owner.spawn(self._fetch(query, options), name="fetch", awaited=True)
            self._fetching[query] = task
            task.add_done_callback(lambda _: self._fetching.pop(query, None))
        return await asyncio.shield(task)

    async def _fetch(self, query: Query[Any], options: Ask) -> _Kept:
        once = Ask(consistency=options.consistency, max_stale_s=options.max_stale_s)
        reply = await self._backend.ask(query, once)
        kept = self._kept.get(query)
        if kept is not None:
            self._renew(kept, reply)
            return kept
        now = self._now()
        kept = self._kept[query] = _Kept(reply, now, now)
        self._count(kept)
        kept.task = self._owner.spawn(self._refresh(query, kept), name="cached answer")
        return kept

    def _count(self, kept: _Kept) -> None:
        """An answer is new here, or another: the longest unused make room, itself excepted."""
        value = kept.reply.value
        rows = 1 + (len(value) if isinstance(value, Sized) else 0)
        self._rows += rows - kept.rows
        kept.rows = rows
        while len(self._kept) > 1 and (len(self._kept) > self._max or self._rows > ROWS_MAX):
            oldest = next(iter(self._kept))
            if self._kept[oldest] is kept:
                break
            self._forget(oldest)

    def _renew(self, kept: _Kept, reply: Reply[Any]) -> None:
        kept.at = self._now()
        kept.unsure_since = None
        if reply.index == kept.reply.index:
            return
        kept.reply = reply
        if kept.rows:
            self._count(kept)
        waiting, kept.waiting = kept.waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _forget(self, query: Query[Any]) -> None:
        """Who waits for a newer answer waits on, for the time that was asked for."""
        kept = self._kept.pop(query)
        self._rows -= kept.rows
        kept.rows = 0
        if kept.task is not None:
            kept.task.cancel()

    async def _newer(self, kept: _Kept, options: Ask) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        kept.waiting.append(waiter)
        try:
            async with asyncio.timeout(options.wait_s):
                await waiter
        except TimeoutError:
            pass
        finally:
            if waiter in kept.waiting:
                kept.waiting.remove(waiter)

    async def _refresh(self, query: Query[Any], kept: _Kept) -> None:
        pause_s = PAUSE_MIN_S
        bucket = Bucket(self._fetch_rate, self._fetch_burst, self._now())
        while self._now() - kept.used_at < IDLE_MAX_S or kept.waiting:
            index = kept.reply.index
            try:
                reply = await self._backend.ask(query, Ask(min_index=index, wait_s=HOLD_S))
            except (StoreError, ForwardError, RequestError):
                self._stats.refresh_failures += 1
                if kept.unsure_since is None:
                    kept.unsure_since = max(kept.at, self._now() - self._away_s())
                await asyncio.sleep(pause_s * (0.5 + self._rng.random()))
                pause_s = min(PAUSE_MAX_S, pause_s * 2)
                continue
            pause_s = PAUSE_MIN_S
            self._renew(kept, reply)
            if self._fetch_rate:
                await asyncio.sleep(bucket.wait_s(self._now()))
                bucket.take()
        if self._kept.get(query) is kept:
            kept.task = None
            self._forget(query)
