"""Why a server leads or does not, in one sentence made of what it knows. Pure; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from raftstore.raft.elections import OPEN, Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What one server knows of its place in the cluster."""

    node_id: str
    role: str
    term: int
    leader_id: str | None
    fatal: str
    """Why the node must stop, empty while all is well."""
    configured: bool
    member_role: str
    """voter, non-voter, staging; empty for who is no member."""
    dismissed: bool
    remembers: bool
    last_contact_s: float | None
    voters: frozenset[str]
    attempt: Attempt | None
    """The last one."""
    timer_s: float
    """Until the election timer runs out."""
    transfer: str
    """To whom leadership is being handed over, and how far that is."""


def why(standing: Standing) -> str:
    """The one thing that decides."""
    return _unfit(standing) or _leading(standing) or _without_vote(standing) or _following(standing)


def _unfit(standing: Standing) -> str:
    if standing.fatal:
        return f"this server has failed and must stop: {standing.fatal}"
    if not standing.configured:
        return "no configuration yet: neither bootstrapped nor added to a cluster"
    if standing.dismissed:
        return "a member says that this server was removed from the cluster"
    return ""


def _leading(standing: Standing) -> str:
    if standing.role != "leader":
        return ""
    votes = standing.attempt.votes if standing.attempt is not None else ()
    won = f"elected in term {standing.term} by {_names(votes)}"
    return f"{won}; handing over to {standing.transfer}" if standing.transfer else won


def _without_vote(standing: Standing) -> str:
    if not standing.remembers:
        return (
            "the cluster knows this server by another disk: until the leader has taken it in again"
            " its votes and acknowledgements do not count"
        )
    if standing.member_role == "voter":
        return ""
    followed = f"; {_leader(standing)}" if standing.leader_id is not None else ""
    if not standing.member_role:
        return f"not in the configuration that this server has{followed}"
    if standing.member_role == "staging":
        return f"staging: it votes once it has caught up{followed}"
    return f"a non-voter by the configuration{followed}"


def _following(standing: Standing) -> str:
    if standing.leader_id is not None and standing.role == "follower":
        return _leader(standing)
    timer = f"the election timer runs out in {max(0.0, standing.timer_s):.1f} s"
    attempt = standing.attempt
    if attempt is None or attempt.outcome != OPEN:
        return f"no leader is known; {timer}"
    wanted = "votes" if attempt.campaigned else "pre-votes"
    missing = standing.voters - set(attempt.votes)
    return (
        f"no leader is known: {wanted} for term {attempt.term} came from {_names(attempt.votes)},"
        f" a majority is {len(standing.voters) // 2 + 1} of {len(standing.voters)},"
        f" none came from {_names(missing)}"
    )


def _leader(standing: Standing) -> str:
    heard = standing.last_contact_s
    ago = "" if heard is None else f", heard {heard:.1f} s ago"
    return f"{standing.leader_id} leads term {standing.term}{ago}"


def _names(ids: Iterable[str]) -> str:
    return ", ".join(sorted(ids)) or "nobody"
