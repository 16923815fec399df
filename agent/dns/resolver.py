"""Answers DNS packets from the backend: asks for what an answer needs, keeps what stays true.

A shell without sockets; ``server`` gives it packets. ``respond`` answers at once where this process
holds the catalog; ``respond_later`` waits for a server of ours, or for the recursors.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from dns.rcode import Rcode

from agent.backend import Ask, Consistency
from agent.backend.cache import AnswerCache, Freshness
from agent.config.schema import AgentConfig
from agent.dns import answers, sizes
from agent.dns.facts import FACTS_MAX, Facts, Missing
from agent.dns.large import LargeAnswers
from agent.dns.memory import Memory, Recollection
from agent.dns.outline import Outline, SoaAt
from agent.dns.ready import KEY_BYTES_MAX, ReadyAnswer, ReadyAnswers
from agent.dns.recursion import LOCAL_NETWORKS, Insiders
from agent.dns.rules import DnsView, rules_of
from agent.dns.sources import AskElsewhere, Catalog, Known, Rights, nobody, watched
from agent.dns.upstream import UpstreamStats, upstream_of
from agent.dns.wire import (
    Question,
    Record,
    Refusal,
    Reply,
    Silence,
    read_question,
    write_reply,
)
from agent.errors import AgentError
from agent.queries import Datacenters, Elsewhere
from agent.queries import Question as Asked
from raftstore.errors import StoreError
from raftstore.queries import HealthService, Query

log = logging.getLogger("lictor.agent.dns.resolver")

T = TypeVar("T")

#: Where stale answers may not even be this old, every question asks anew.
_READY_STALENESS_MIN_S = 86400.0
#: Names without records get at most this part of the ready answers, so that a flood of made-up
#: names does not push out the good ones.
_NEGATIVE_SHARE = 8


@dataclass(slots=True)
class ResolverStats:
    """Counters since the start; ``ready_answers`` is a level, ``dropped`` got no reply at all,
    ``remembered`` facts were taken from memory, the last of them ``remembered_age_s`` old, and
    ``cached`` ones from the answers that this agent keeps up to date."""

    questions: int = 0
    dropped: int = 0
    ready_hits: int = 0
    refusals: int = 0
    failures: int = 0
    ready_answers: int = 0
    remembered: int = 0
    cached: int = 0
    remembered_age_s: float = 0.0
    upstream: UpstreamStats = field(default_factory=UpstreamStats)


#: A server that may be asked again gets so many seconds before we answer from memory, and after
#: it let them pass nobody waits for so long again.
_PATIENCE_S = 0.5
_AWAY_S = 1.0
#: Of a service with more instances than a reply is made from, another part is drawn after so long.
_PARTIAL_S = 0.25


class Later:
    """A question that has to wait, with the facts found so far; ``client`` is whose it is, and
    ``wanting`` says how many instances it is about, where it is about many."""

    __slots__ = ("client", "facts", "question", "wanting")

    def __init__(self, question: Question, facts: Known, client: str, wanting: int) -> None:
        self.question = question
        self.facts = facts
        self.client = client
        self.wanting = wanting


class Resolver:
    """Turns packets into packets."""

    __slots__ = (
        "_ask",
        "_away_until",
        "_backend",
        "_cache_age_s",
        "_cancels",
        "_clock",
        "_config",
        "_elsewhere",
        "_generation_seen",
        "_insiders",
        "_keeps",
        "_kept",
        "_large",
        "_max_stale_s",
        "_memory_age_s",
        "_negative",
        "_peeks",
        "_ready",
        "_rights",
        "_rights_watch",
        "_rng",
        "_rules",
        "_stats",
        "_upstream",
        "memory",
    )

    def __init__(
        self,
        config: AgentConfig,
        backend: Catalog,
        *,
        rng: random.Random,
        clock: Callable[[], float],
        stats: ResolverStats | None = None,
        memory: Memory | None = None,
        rights: Rights | None = None,
        kept: AnswerCache | None = None,
        elsewhere: AskElsewhere | None = None,
    ) -> None:
        """``stats`` and ``memory`` are those of the resolver that this one follows; with other
        ``rights`` nothing that was answered before counts any more. ``kept`` are answers that this
        agent keeps up to date, for `use_cache`."""
        self._elsewhere = elsewhere
        self._kept = kept if config.dns.use_cache else None
        dns = config.dns
        self._backend = backend
        self._config = config
        self._rules = rules_of(config)
        self._rng = rng
        self._clock = clock
        if dns.allow_stale:
            self._ask = Ask(consistency=Consistency.STALE, max_stale_s=dns.max_stale_s)
        else:
            self._ask = Ask()
        # What the cache holds may be old: it is asked for by name, whatever else is stale.
        self._peeks = dns.allow_stale or dns.use_cache
        self._max_stale_s = math.inf if dns.use_cache else dns.max_stale_s
        self._keeps = self._peeks and self._max_stale_s >= _READY_STALENESS_MIN_S
        limit = max(1, config.limits.dns_ready_answers_max)
        self._ready = ReadyAnswers(limit)
        self._away_until = 0.0
        #: What servers said, for the resolver that follows this one.
        self.memory = memory or Memory(limit)
        self._rights = rights
        self._rights_watch: Callable[[], None] | None = None
        self._generation_seen = 0
        self._memory_age_s = dns.max_stale_s if dns.allow_stale else 0.0
        self._cache_age_s = dns.cache_max_age_s if dns.use_cache else 0.0
        self._negative = ReadyAnswers(max(1, limit // _NEGATIVE_SHARE))
        self._cancels: dict[Query[Any], Callable[[], None]] = {}
        self._stats = stats or ResolverStats()
        self._insiders = Insiders(dns.recursion_allowed_cidrs or LOCAL_NETWORKS)
        self._upstream = upstream_of(config, self._stats.upstream)
        self._large = LargeAnswers(self, self._rules, rng, clock)

    def stats(self) -> ResolverStats:
        self._stats.ready_answers = len(self._ready) + len(self._negative)
        return self._stats

    @property
    def view(self) -> DnsView:
        """How questions are answered now."""
        upstream = self._upstream
        return DnsView(
            config=self._config,
            recursors=tuple(map(str, upstream.recursors)),
            looping=tuple(map(str, upstream.loops.known())),
            elsewhere=self._elsewhere,
        )

    def tell_dropped(self, told: Callable[[bytes], None]) -> None:
        """Call back with each key of ``hot`` that is not there any more, b"" for all."""
        self._ready.on_dropped = told

    @property
    def hot(self) -> dict[bytes, Callable[[], bytes]]:
        """Questions over UDP without their id -> the next reply without its id. Without those that
        must be looked at; always the same dictionary."""
        return self._ready.hot

    def respond(self, data: bytes, *, tcp: bool, client: str) -> bytes | Later | None:
        """The reply to a packet, None for no reply, or ``Later`` when somebody must be asked.

        ``client`` is the address that it came from, as text.
        """
        stats = self._stats
        stats.questions += 1
        if self._rights is not None:
            self._look_at_generation(self._rights.generation())
        # No packet is a tuple, so that none over UDP is answered at the length of TCP.
        key: Hashable = (data[2:],) if tcp else data[2:]
        ready = self._ready.get(key) or self._negative.get(key)
        if ready is not None:
            stats.ready_hits += 1
            return data[:2] + ready.body(int(self._clock()) if ready.timed else 0)
        question = read_question(data)
        if isinstance(question, Silence):
            stats.dropped += 1
            return None
        if isinstance(question, Refusal):
            stats.refusals += 1
            return data[:2] + question.body
        facts: Known = {}
        seed = self._rng.getrandbits(32)
        outline = self.outline_from(question, facts, client, tcp=tcp, seed=seed)
        if outline is not None and outline.forward:
            outline = self._refused(outline, question, client)
        if outline is None or outline.wanting:
            return Later(question, facts, client, 0 if outline is None else outline.wanting)
        if self._keeps and facts and not outline.personal and len(data) <= KEY_BYTES_MAX:
            body = self.keep(key, question, outline, facts, tcp=tcp)
            if body is not None:
                return data[:2] + body
        return data[:2] + self._write(outline, question, tcp=tcp)

    def _look_at_generation(self, generation: int) -> None:
        """Forget what was made of answers, if others may be seen now."""
        if generation != self._generation_seen:
            self._generation_seen = generation
            self.close()
            self.memory.clear()

    def _rights_watched(self) -> bool:
        """Whether we shall be told when other things may be seen."""
        if self._rights is None:
            return True
        if self._rights_watch is None:
            try:
                self._rights_watch = self._rights.watch_rights(self.rights_changed)
            except StoreError:  # too many watches
                return False
        return self._rights_watch is not None

    def rights_changed(self) -> None:
        """Tokens, policies or roles are others: look at what that means, and go on being told."""
        if self._rights is None:
            return
        if self._rights_watch is not None:
            self._rights_watch()
            self._rights_watch = None
        self._look_at_generation(self._rights.generation())
        if not self._rights_watched():
            self._ready.cool()

    async def respond_later(self, data: bytes, later: Later, *, tcp: bool) -> bytes:
        """The reply to a question that ``respond`` could not answer. A failing backend gives
        SERVFAIL; nothing is raised."""
        question = later.question
        try:
            if later.wanting:
                body = await self._large.reply(data[2:], later, tcp=tcp)
                if body is not None:
                    return data[:2] + body
            outline = await self._outline_asking(question, later.facts, later.client, tcp=tcp)
            if outline.forward:
                refused = self._refused(outline, question, later.client)
                if refused is None:
                    found = await self._upstream.relay(data, question, tcp=tcp, client=later.client)
                    if found is not None:
                        return found
                else:
                    outline = refused
        except (StoreError, AgentError) as error:
            self._stats.failures += 1
            log.debug("question failed name=%s reason=%s", question.labels, error)
            available = self._rules.recursion_available
            reply = Reply(question=question, rcode=Rcode.SERVFAIL, recursion_available=available)
            return data[:2] + write_reply(reply, compress=self._rules.compress)[2:]
        return data[:2] + self._write(outline, question, tcp=tcp)

    def close(self) -> None:
        """Give up all watches."""
        if self._rights_watch is not None:
            self._rights_watch()
            self._rights_watch = None
        self._ready.clear()
        self._negative.clear()
        for cancel in self._cancels.values():
            cancel()
        self._cancels.clear()

    def _refused(self, outline: Outline, question: Question, client: str) -> Outline | None:
        """The reply to a question for the recursors that they are not to be asked, else None."""
        if not self._insiders.allows(client):
            self._stats.upstream.outsiders += 1
            is_reverse = question.labels[-1:] == (b"arpa",)
            return replace(
                outline,
                rcode=Rcode.SERVFAIL if is_reverse else Rcode.REFUSED,
                recursion_available=is_reverse,
                opt=is_reverse,
                forward=False,
            )
        if self._upstream.note_arrival(question, client):
            return replace(outline, forward=False)
        return None

    def outline_from(
        self, question: Question, facts: Known, client: str, *, tcp: bool, seed: int
    ) -> Outline | None:
        """The outline from what this process holds, beside the facts that are known and are added
        to; None when that is not enough."""
        while True:
            try:
                known = Facts(facts)
                outline = answers.answer(
                    question, self._rules, known, self._rng, client=client, tcp=tcp, seed=seed
                )
                return None if known.unknown else outline
            except Missing as missing:
                query = missing.query
                if isinstance(query, Elsewhere | Datacenters):
                    if self._elsewhere is not None:
                        return None
                    facts[query] = nobody(query)
                    continue
                held = self.seen_now(query)
                if held is None:
                    return None
                facts[query] = held
                assert len(facts) <= FACTS_MAX * 2

    def seen_now(self, query: Query[T]) -> T | None:
        """What this process holds, None where it does not or that is too old."""
        if not self._peeks:
            return None
        try:
            held = self._backend.peek(query)
        except (StoreError, AgentError):
            return None
        return None if held is None or held.last_contact_s > self._max_stale_s else held.value

    async def _outline_asking(
        self, question: Question, facts: Known, client: str, *, tcp: bool
    ) -> Outline:
        names: dict[bytes, tuple[Record, ...]] = {}
        seed = self._rng.getrandbits(64)
        while True:
            known = Facts(facts, names)
            try:
                # What is drawn at random is drawn alike each time, or every attempt would need
                # to know something else.
                rng = random.Random(seed)
                outline = answers.answer(question, self._rules, known, rng, client=client, tcp=tcp)
                if not known.unknown:
                    return outline
                found = await asyncio.gather(*map(self._upstream.look_up, known.unknown))
                names |= zip(known.unknown, found, strict=True)
            except Missing as missing:
                facts[missing.query] = await self._found(missing.query)
                assert len(facts) <= FACTS_MAX * 2

    async def _found(self, query: Asked) -> Any:
        """What the state says, ours or another datacenter's."""
        if not isinstance(query, Elsewhere | Datacenters):
            return await self._told(query)
        if isinstance(query, Elsewhere) and self._rules.is_local(query.datacenter.lower()):
            return await self._told(query.query)
        return nobody(query) if self._elsewhere is None else await self._elsewhere(query, self._ask)

    async def _told(self, query: Query[Any]) -> Any:
        """What a server says; what one said before where none answers in time.

        With the cache on, what is young enough is not asked for again, and instances that were
        found before are kept up to date: not those of any name that somebody makes up.
        """
        loop = asyncio.get_running_loop()
        memory, now = self.memory, loop.time()
        cached = memory.get(query, now, age_max_s=self._cache_age_s) if self._cache_age_s else None
        if cached is not None:
            return self._recalled(cached)
        known = memory.get(query, now, age_max_s=self._memory_age_s)
        if known is not None and now < self._away_until:
            return self._recalled(known)
        try:
            async with asyncio.timeout(None if known is None else _PATIENCE_S):
                if self._kept is not None and known and isinstance(query, HealthService):
                    return await self._from_cache(self._kept, query, known)
                reply = await self._backend.ask(query, self._ask)
        except (StoreError, AgentError, TimeoutError):
            if known is None:
                raise
            self._away_until = loop.time() + _AWAY_S
            return self._recalled(known)
        memory.keep(query, reply.value, now - reply.last_contact_s)
        return reply.value

    async def _from_cache(
        self, kept: AnswerCache, query: HealthService, known: Recollection
    ) -> Any:
        if not known.value:
            reply = await self._backend.ask(query, self._ask)
        else:
            bound = Freshness(max_age_s=self._cache_age_s or None)
            found = await kept.get(query, self._ask, bound)
            reply = found.reply
            if found.hit:
                self._stats.cached += 1
        now = asyncio.get_running_loop().time()
        self.memory.keep(query, reply.value, now - reply.last_contact_s)
        return reply.value

    def _recalled(self, known: Recollection) -> Any:
        self._stats.remembered += 1
        self._stats.remembered_age_s = known.age_s
        return known.value

    def _write(self, outline: Outline, question: Question, *, tcp: bool) -> bytes:
        now_s = int(self._clock())
        rules, rng = self._rules, self._rng
        return sizes.write(outline, question, rules, tcp=tcp, rng=rng, now_s=now_s)[2:]

    def keep(
        self,
        key: Hashable,
        question: Question,
        outline: Outline,
        facts: Known,
        *,
        tcp: bool,
        orders: sizes.Orders | None = None,
    ) -> bytes | None:
        """Keep the answer if the backend promises to tell when it may change. No await lies
        between the look at the catalog and the watch, so no change slips through."""
        queries = watched(facts)
        if self.watches(facts) is None:
            self._forget(list(queries))
            return None
        orders = orders or sizes.Orders(outline, question, self._rules, tcp=tcp, rng=self._rng)
        timed = outline.soa_at is not SoaAt.NOWHERE
        answer = ReadyAnswer(orders, timed=timed, queries=queries, clock=time.monotonic)
        place = self._ready if outline.items else self._negative
        body = answer.body(int(self._clock()) if timed else 0)
        self._forget(place.keep(key, answer, hot=self._rights_watched()))
        if outline.partial:  # the others have their turn soon
            asyncio.get_running_loop().call_later(
                _PARTIAL_S, lambda: self._forget(place.expire(key, answer))
            )
        return body

    def watches(self, facts: Known) -> list[object] | None:
        """What tells when these facts change, others when they have changed; None where nobody
        does."""
        queries = watched(facts)
        if (
            not queries
            or not self._keeps
            or not all(q in self._cancels or self._watch(q) for q in queries)
        ):
            return None
        return [self._cancels[query] for query in queries]

    def _watch(self, query: Query[Any]) -> bool:
        try:
            cancel = self._backend.watch_once(query, lambda: self._moved(query))
        except StoreError:  # too many watches: answer without keeping
            return False
        if cancel is None:
            return False
        self._cancels[query] = cancel
        return True

    def _moved(self, query: Query[Any]) -> None:
        self._cancels.pop(query, None)
        self._forget(self._ready.drop(query) + self._negative.drop(query))

    def _forget(self, queries: list[Query[Any]]) -> None:
        for query in queries:
            if not self._ready.watched(query) and not self._negative.watched(query):
                cancel = self._cancels.pop(query, None)
                if cancel is not None:
                    cancel()
