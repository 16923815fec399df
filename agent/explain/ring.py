"""What the members of the ring answer right now: who is heard, and whose clock is off.

A query goes round by gossip, and each member answers us directly by UDP. So who answers can send us
packets; who does not cannot, or has not heard us. Members of our own kind also say what time they
have: were all clocks right, it would lie between our question and their answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gossip import GossipStats, Member, MemberStatus, Question
from gossip.errors import QueryError
from raftstore.records import Json

#: The query's name; agents of other kinds let it pass, and only acknowledge it.
CLOCK_QUERY = "lictor:clock"
#: Members that are named in an answer, at most; those with a trouble come first.
SHOWN_MAX = 1000


class Word(Protocol):
    """What a member says: None in ``payload`` is the bare acknowledgement."""

    @property
    def sender(self) -> str: ...
    @property
    def payload(self) -> bytes | None: ...


class Ring(Protocol):
    """The pool as it is asked."""

    def query(self, question: Question) -> AsyncIterator[Word]: ...
    def members(self) -> Sequence[Member]: ...
    def local_member(self) -> Member: ...
    def stats(self) -> GossipStats: ...


@dataclass(frozen=True, slots=True)
class Heard:
    """One member: whether it answered, and by how many seconds at least its clock is off."""

    name: str
    address: str
    acknowledged: bool = False
    clock_off_s: float | None = None


def answer_clock(name: str, now: float) -> bytes | None:
    """What a member says to the query; None to all others."""
    return f"{now:.6f}".encode() if name == CLOCK_QUERY else None


def clock_off_s(asked_at: float, heard_at: float, told: bytes) -> float | None:
    """Seconds by which a clock is ahead (below 0: behind) at least; None for what is no time."""
    try:
        there = float(told)
    except ValueError:
        return None
    if there < asked_at:
        return there - asked_at
    return max(0.0, there - heard_at)


async def explain_ring(ring: Ring, now: Callable[[], float]) -> Json:
    """Ask everybody, and wait as long as the ring needs. ``now`` gives Unix seconds."""
    own = ring.local_member().name
    others = {
        member.name: Heard(member.name, member.address)
        for member in ring.members()
        if member.status is MemberStatus.ALIVE and member.name != own
    }
    failure = ""
    if others:
        try:
            await _ask(ring, now, others)
        except QueryError as error:
            failure = str(error)
    stats = ring.stats()
    troubled_first = sorted(
        others.values(), key=lambda h: (h.acknowledged, -abs(h.clock_off_s or 0.0), h.name)
    )
    return {
        "Node": own,
        "Asked": len(others),
        "Heard": sum(heard.acknowledged for heard in others.values()),
        "Error": failure,
        "Probes": stats.probes,
        "ProbesFailed": stats.probe_failures,
        "ProbesOnlyByTCP": stats.tcp_fallback_successes,
        "PacketsReceived": stats.packets_received,
        "Members": [
            {
                "Name": heard.name,
                "Address": heard.address,
                "Heard": heard.acknowledged,
                "ClockOff_s": heard.clock_off_s,
            }
            for heard in troubled_first[:SHOWN_MAX]
        ],
    }


async def _ask(ring: Ring, now: Callable[[], float], others: dict[str, Heard]) -> None:
    asked_at = now()
    async for word in ring.query(Question(name=CLOCK_QUERY, ack=True)):
        known = others.get(word.sender)
        if known is None:
            continue
        off_s = known.clock_off_s
        if word.payload is not None:
            off_s = clock_off_s(asked_at, now(), word.payload)
        others[word.sender] = Heard(known.name, known.address, True, off_s)
