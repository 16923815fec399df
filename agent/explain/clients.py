"""Asks every agent of the ring which connections stand into the sidecars of its host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agent.connect.clients import ANY, CLIENTS_QUERY, Standing, read
from agent.explain.ring import Ring
from gossip import MemberStatus, Question
from gossip.errors import QueryError


@dataclass(frozen=True, slots=True)
class Found:
    """What was heard. ``asked`` and ``heard`` are agents; ``more``: somebody had no room for
    all; ``error``: the ring could not be asked."""

    standings: tuple[Standing, ...]
    asked: int
    heard: int
    more: bool = False
    error: str = ""


#: What this agent would answer itself: for a source and a destination, where * is any.
Here = Callable[[str, str], Awaitable[tuple[Standing, ...]]]


async def ask(ring: Ring, here: Here, source: str, destination: str) -> Found:
    """Ask every agent of the ring, this one too."""
    own = ring.local_member().name
    others = {
        member.name
        for member in ring.members()
        if member.status is MemberStatus.ALIVE and member.name != own
    }
    standings, heard, more, error = list(await here(source, destination)), {own}, False, ""
    if others:
        payload = f"{source}\t{destination}".encode()
        try:
            async for word in ring.query(Question(name=CLIENTS_QUERY, payload=payload)):
                if word.payload is None or word.sender not in others - heard:
                    continue
                rows, cut = read(word.payload, word.sender)
                standings += [each for each in rows if _fits(each, source, destination)]
                heard.add(word.sender)
                more = more or cut
                if heard >= others:
                    break
        except QueryError as failure:
            error = str(failure)
    return Found(tuple(sorted(standings)), len(others) + 1, len(heard), more, error)


def _fits(each: Standing, source: str, destination: str) -> bool:
    return source in (ANY, each.source) and destination in (ANY, each.destination)
