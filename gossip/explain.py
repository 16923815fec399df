"""Why a member has the state it has, as data: current state, accusers, what led here."""

from __future__ import annotations

from dataclasses import dataclass

from gossip.admission import Refusal
from gossip.roster import MemberStatus
from gossip.serf import Serf


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTransition:
    """One change of a member's state."""

    at: float
    """Seconds since the epoch."""
    state: str
    """alive, suspect, dead or left."""
    incarnation: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSuspicion:
    """Who accuses a suspect, and how long it has."""

    accusers: tuple[str, ...]
    """The first one first."""
    confirmations_wanted: int
    """How many beyond the first shorten the wait to its minimum."""
    started_at: float
    deadline_at: float
    """When it will be declared dead, unless it refutes or others confirm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedClaim:
    """The last claim about this name that was not let in."""

    reason: str
    at: float
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberExplanation:
    """What we hold of one member and how it came about; times in seconds since the epoch."""

    name: str
    status: MemberStatus
    state: str
    """SWIM's state; empty once SWIM has forgotten the member and only Serf remembers it."""
    incarnation: int
    address: str
    port: int
    changed_at: float
    suspicion: RunningSuspicion | None
    transitions: tuple[PastTransition, ...]
    """The last few, the oldest first."""
    refused: RefusedClaim | None = None
    """A claim that was not let in; a name that never was has the status none."""


def explain(core: Serf, name: str, *, epoch_offset_s: float) -> MemberExplanation | None:
    """Everything known about a member; None when there is no such member.

    ``epoch_offset_s`` turns the core's times into seconds since the epoch.
    """
    member = core.roster.member(name)
    refusal = _refused(core.swim.refusals.get(name), epoch_offset_s)
    if member is None:
        return _stranger(name, refusal) if refusal is not None else None
    record = core.swim.table.get(name)
    running = core.swim.suspicions.get(name)
    return MemberExplanation(
        name=name,
        status=member.status,
        state=record.state.name.lower() if record else "",
        incarnation=record.incarnation if record else 0,
        address=member.address,
        port=member.port,
        changed_at=(record.changed_at if record else core.roster.entries[name].ended_at)
        + epoch_offset_s,
        suspicion=None
        if running is None
        else RunningSuspicion(
            accusers=tuple(running.accusers),
            confirmations_wanted=running.confirmations_wanted,
            started_at=running.started_at + epoch_offset_s,
            deadline_at=running.deadline + epoch_offset_s,
        ),
        transitions=tuple(
            PastTransition(
                at=past.at + epoch_offset_s,
                state=past.state.name.lower(),
                incarnation=past.incarnation,
                cause=past.cause,
            )
            for past in (record.transitions if record else ())
        ),
        refused=refusal,
    )


def _refused(refusal: Refusal | None, epoch_offset_s: float) -> RefusedClaim | None:
    if refusal is None:
        return None
    return RefusedClaim(reason=refusal.reason, at=refusal.at + epoch_offset_s, times=refusal.times)


def _stranger(name: str, refusal: RefusedClaim) -> MemberExplanation:
    """A name that is no member because it was not let in."""
    return MemberExplanation(
        name=name,
        status=MemberStatus.NONE,
        state="",
        incarnation=0,
        address="",
        port=0,
        changed_at=refusal.at,
        suspicion=None,
        transitions=(),
        refused=refusal,
    )
