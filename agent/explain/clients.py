"""Asks every agent of the ring who asks what of the services of its host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agent.connect.clients import CLIENTS_QUERY, Counts, Wanted, read
from agent.explain.ring import Ring
from gossip import MemberStatus, Question
from gossip.errors import QueryError


@dataclass(frozen=True, slots=True)
class Found:
    """What was heard. ``asked`` and ``heard`` are agents; ``more``: somebody had no room for
    all; ``error``: the ring could not be asked."""

    counts: tuple[Counts, ...]
    asked: int
    heard: int
    more: bool = False
    error: str = ""


#: What this agent would answer itself.
Here = Callable[[Wanted], Awaitable[tuple[Counts, ...]]]


async def ask(ring: Ring, here: Here, question: Wanted) -> Found:
    """Ask every agent of the ring, this one too."""
    own = ring.local_member().name
    others = {
        member.name
        for member in ring.members()
        if member.status is MemberStatus.ALIVE and member.name != own
    }
    counts, heard, more, error = list(await here(question)), {own}, False, ""
    if others:
        asked = Question(name=CLIENTS_QUERY, payload=question.payload())
        try:
            async for word in ring.query(asked):
                if word.payload is None or word.sender not in others - heard:
                    continue
                rows, cut = read(word.payload, word.sender)
                counts += [each for each in rows if question.covers(each.source, each.destination)]
                heard.add(word.sender)
                more = more or cut
                if heard >= others:
                    break
        except QueryError as failure:
            error = str(failure)
    return Found(tuple(sorted(counts)), len(others) + 1, len(heard), more, error)
