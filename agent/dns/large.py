"""Answers questions about services of thousands of instances in steps, others having their turn.

Looking at 4,096 instances and writing the reply takes some sixty milliseconds of the loop. Whoever
asks the same meanwhile waits for the same reply, so a change costs one such round, not one for each
client.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar

from agent.dns import sizes
from agent.dns.gathering import Gathering
from agent.dns.outline import Outline
from agent.dns.ready import KEY_BYTES_MAX
from agent.dns.rules import Rules
from agent.dns.sources import Known
from agent.dns.steps import Steps
from agent.dns.wire import Question
from raftstore.dns_queries import HealthSample
from raftstore.queries import Query

#: So often it is begun again because the service changed meanwhile; then the reply is of instances
#: each of which was there at some time since the question came.
TRIES = 3

T = TypeVar("T")


class Waiting(Protocol):
    """A question, the facts that a first outline was made of, and how many instances the reply is
    to be made from; ``client`` is whose it is."""

    question: Question
    facts: Known
    client: str
    wanting: int


class Asks(Protocol):
    """The resolver, as far as it is needed here."""

    def outline_from(
        self, question: Question, facts: Known, client: str, *, tcp: bool, seed: int
    ) -> Outline | None: ...
    def seen_now(self, query: Query[T]) -> T | None: ...
    def watches(self, facts: Known) -> list[object] | None: ...
    def keep(
        self, key: Hashable, question: Question, outline: Outline, facts: Known, *, tcp: bool,
        orders: sizes.Orders | None = None,
    ) -> bytes | None: ...  # fmt: skip


class LargeAnswers:
    """The questions that are under way."""

    __slots__ = ("_asks", "_clock", "_rng", "_rules", "_under_way")

    def __init__(
        self, asks: Asks, rules: Rules, rng: random.Random, clock: Callable[[], float]
    ) -> None:
        self._asks = asks
        self._rules = rules
        self._rng = rng
        self._clock = clock
        self._under_way: dict[Hashable, asyncio.Future[bytes | None]] = {}

    async def reply(self, packet: bytes, later: Waiting, *, tcp: bool) -> bytes | None:
        """The reply without its id to a packet without one; None where it cannot be made so. Raises
        what the state does."""
        key: Hashable = (packet,) if tcp else packet
        others = self._under_way.get(key)
        if others is not None:
            return await asyncio.shield(others)
        made: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._under_way[key] = made
        body: bytes | None = None
        try:
            body = await self._made(key, later, tcp=tcp, short=len(packet) < KEY_BYTES_MAX - 1)
        finally:
            # Where it failed, each of the others asks in the other way.
            self._under_way.pop(key, None)
            made.set_result(body)
        return body

    async def _made(self, key: Hashable, later: Waiting, *, tcp: bool, short: bool) -> bytes | None:
        question, facts = later.question, later.facts
        sample = next(query for query in facts if isinstance(query, HealthSample))
        body: bytes | None = None
        for left in reversed(range(TRIES)):
            watches = self._asks.watches(facts)
            known = dict(facts)
            outline = await self._gathered(sample, later, known, tcp=tcp)
            if outline is None:
                return None
            orders = sizes.Orders(outline, question, self._rules, tcp=tcp, rng=self._rng)
            orders.draw()
            body = (await _in_turns(orders.writing(0, int(self._clock()))))[2:]
            # What was not known at the beginning was not watched either.
            if watches is None or known.keys() != facts.keys() or not short:
                return body
            if self._asks.watches(facts) == watches:
                kept = self._asks.keep(key, question, outline, facts, tcp=tcp, orders=orders)
                return body if kept is None else kept
            if left:
                held = self._asks.seen_now(sample)
                if held is None:
                    return None
                facts = {**facts, sample: held}
        return body

    async def _gathered(
        self, sample: HealthSample, later: Waiting, known: Known, *, tcp: bool
    ) -> Outline | None:
        """The outline of all parts; None where somebody has to be asked. ``known`` grows."""
        question, total = later.question, known[sample].total
        gathering = Gathering(
            sample, total, most=later.wanting, qtype=question.qtype, rng=self._rng
        )
        asks = self._asks
        while (part := gathering.next_part()) is not None:
            held = asks.seen_now(part)
            if held is None:
                return None
            known[sample] = gathering.wanted(held)
            outline = asks.outline_from(question, known, later.client, tcp=tcp, seed=sample.seed)
            if outline is None:
                return None
            gathering.add(outline)
            await asyncio.sleep(0)
        return gathering.outline()


async def _in_turns(steps: Steps[T]) -> T:
    """The result of what is done in steps, others having their turn in between."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
        await asyncio.sleep(0)
