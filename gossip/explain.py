"""Why a member has the state it has, as data: current state, accusers, what led here."""

from __future__ import annotations

from dataclasses import dataclass

from gossip.accusers import Account, Evidence
from gossip.admission import Refusal
from gossip.members import Transition
from gossip.reasons import SuspicionFigures
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
    health_score: int | None
    """Our own at that moment: 0 is healthy. None for what we did not see change."""
    stalled_s: float
    """How long our own event loop had stood still the last time before it; 0 for never."""
    stalled_at: float
    suspicion: RunningSuspicion | None
    """The suspicion that began or ended with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One accuser, and when we heard of it."""

    accuser: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSuspicion:
    """Who accuses a suspect, and how long it has."""

    accusers: tuple[str, ...]
    """The first one first."""
    heard: tuple[Voice, ...]
    """The same, with times: the accusation, then the confirmations."""
    ring_size: int
    """n, when it began: the shortest and the longest wait follow from it."""
    confirmations_wanted: int
    """k: how many beyond the first shorten the wait to its minimum."""
    shortest_s: float
    longest_s: float
    timeout_s: float
    """With the confirmations so far."""
    excused_s: float
    """Added because our own event loop stood still."""
    started_at: float
    deadline_at: float
    """When it will be declared dead, unless it refutes or others confirm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastAccusation:
    """What became of the last time a member accused ``subject``: refuted, proved, or open."""

    subject: str
    outcome: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuserExplanation:
    """Whether we believe a member's accusations of others, and why."""

    quarantined: bool
    quarantined_at: float
    """Of the last time; 0 for never, as for the next."""
    quarantined_until: float
    grounds: tuple[PastAccusation, ...]
    """What the last quarantine was decided on."""
    evidence: tuple[PastAccusation, ...]
    """Since then."""
    doubted: int
    """Accusations that were checked by a probe instead of believed."""


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
    as_accuser: AccuserExplanation | None = None
    """None for a member that accused nobody lately."""
    refused: RefusedClaim | None = None
    """A claim that was not let in; a name that never was has the status none."""


def explain(
    core: Serf, name: str, *, now: float, epoch_offset_s: float
) -> MemberExplanation | None:
    """Everything known about a member at ``now``; None when there is no such member.

    ``epoch_offset_s`` turns the core's times into seconds since the epoch.
    """
    member = core.roster.member(name)
    refusal = _refused(core.swim.claims.refusals.get(name), epoch_offset_s)
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
        suspicion=_suspicion(running.figures if running else None, epoch_offset_s),
        transitions=tuple(
            _transition(past, epoch_offset_s) for past in (record.transitions if record else ())
        ),
        as_accuser=_account(core.swim.claims.accusers.get(name), now, epoch_offset_s),
        refused=refusal,
    )


def _suspicion(figures: SuspicionFigures | None, offset_s: float) -> RunningSuspicion | None:
    if figures is None:
        return None
    return RunningSuspicion(
        accusers=tuple(said.accuser for said in figures.accusations),
        heard=tuple(
            Voice(accuser=said.accuser, at=said.at + offset_s) for said in figures.accusations
        ),
        ring_size=figures.ring_size,
        confirmations_wanted=figures.confirmations_wanted,
        shortest_s=figures.shortest_s,
        longest_s=figures.longest_s,
        timeout_s=figures.timeout_s,
        excused_s=figures.excused_s,
        started_at=figures.started_at + offset_s,
        deadline_at=figures.deadline + offset_s,
    )


def _transition(past: Transition, offset_s: float) -> PastTransition:
    why = past.why
    stall = why.stall if why is not None else None
    return PastTransition(
        at=past.at + offset_s,
        state=past.state.name.lower(),
        incarnation=past.incarnation,
        cause=past.cause,
        health_score=why.health_score if why is not None else None,
        stalled_s=stall.length_s if stall is not None else 0.0,
        stalled_at=stall.at + offset_s if stall is not None else 0.0,
        suspicion=_suspicion(why.suspicion if why is not None else None, offset_s),
    )


def _account(account: Account | None, now: float, offset_s: float) -> AccuserExplanation | None:
    if account is None:
        return None
    ever = offset_s if account.quarantined_until else 0.0

    def told(evidence: tuple[Evidence, ...]) -> tuple[PastAccusation, ...]:
        return tuple(
            PastAccusation(subject=e.subject, outcome=e.outcome.value, at=e.at + offset_s)
            for e in evidence
        )

    return AccuserExplanation(
        quarantined=now < account.quarantined_until,
        quarantined_at=account.quarantined_at + ever,
        quarantined_until=account.quarantined_until + ever,
        grounds=told(account.grounds),
        evidence=told(account.evidence),
        doubted=account.doubted,
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
