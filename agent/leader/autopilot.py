"""Who belongs to the Raft configuration: what gossip sees, what Raft knows, and what to change.

Decides by agent contract, section 7. A server that gossip shows alive is added without a vote and
promoted once it has been healthy for the stabilization time; one that left is removed; a dead one
is removed only while a healthy majority of the voters that remain is in sight, so that cleaning up
never costs the quorum. At most one change at a time, and none before the last one is committed.
Carrying a change out is agent/leader/servers.py's.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from raftstore.records import AutopilotConfig

#: A failed server must stay failed for this long, in seconds: one that is only restarted keeps its
#: seat. The reference cleans up every 10 s.
DEAD_GRACE_S = 10.0
#: A configured server that gossip has never shown under this leader gets this long. After a stop of
#: all servers the first ones lead before the last ones are started.
ABSENT_GRACE_S = 60.0
#: Raft heard it so lately, in seconds: whatever gossip says, it is not dead.
RAFT_ALIVE_S = 5.0


class Standing(enum.Enum):
    """A server as gossip shows it; the values are the reference's words."""

    ALIVE = "alive"
    LEAVING = "leaving"
    FAILED = "failed"
    LEFT = "left"
    ABSENT = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A server in gossip. ``address`` is "host:port" of its server port."""

    node_id: str
    name: str
    address: str
    standing: Standing
    version: str = ""
    #: It asks never to vote (Consul's `nonvoter` and `read_replica` tags).
    non_voter: bool = False
    meta: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server of the Raft configuration as the leader knows it.

    ``last_contact_s`` is the time since it answered, None if it never did; ``last_index`` is how
    far its log is known to equal ours, ``last_term`` the term of that entry.
    """

    node_id: str
    address: str
    voter: bool
    #: Raft gives it its vote as soon as it has caught up.
    staging: bool = False
    last_contact_s: float | None = None
    last_index: int = 0
    last_term: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that is looked at. ``settled``: the last configuration is committed, in this term."""

    own_id: str
    term: int
    last_index: int
    settled: bool
    peers: tuple[Peer, ...]
    seen: tuple[Seen, ...]
    #: Peers answer this often when nothing is written; contact cannot be fresher than that.
    heartbeat_s: float = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One server, judged. ``since`` is when ``healthy`` took its value, on the planner's clock."""

    peer: Peer | None
    seen: Seen | None
    node_id: str
    name: str
    address: str
    standing: Standing
    healthy: bool
    reason: str
    since: float
    #: Why it counts as dead, "" if it does not.
    dead: str = ""

    @property
    def voter(self) -> bool:
        """Whether it votes today."""
        return self.peer is not None and self.peer.voter


@dataclass(frozen=True, slots=True)
class AddNonVoter:
    """Take a server in, without a vote."""

    node_id: str
    address: str
    cause: str


@dataclass(frozen=True, slots=True)
class Promote:
    """Give a server its vote."""

    node_id: str
    cause: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Take a server out."""

    node_id: str
    cause: str


@dataclass(frozen=True, slots=True)
class Readdress:
    """Write down where a server is now, for those who cannot ask gossip."""

    node_id: str
    address: str
    voter: bool
    cause: str


Action = AddNonVoter | Promote | Remove | Readdress


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, if anything, and why the others have to wait (by node id)."""

    action: Action | None
    waiting: Mapping[str, str]


@dataclass(slots=True)
class _Memory:
    healthy: bool
    since: float
    standing: Standing
    standing_since: float


class Judge:
    """Remembers since when each server has been as it is. One per term of a leader."""

    __slots__ = ("_memory",)

    def __init__(self) -> None:
        self._memory: dict[str, _Memory] = {}

    def judge(self, view: View, config: AutopilotConfig, now: float) -> tuple[Verdict, ...]:
        """Every server that gossip shows or Raft counts, by node id."""
        peers = {peer.node_id: peer for peer in view.peers}
        seen = {server.node_id: server for server in view.seen if server.node_id}
        self._memory = {n: m for n, m in self._memory.items() if n in peers or n in seen}
        taken = {s.address: s.node_id for s in seen.values() if s.standing is Standing.ALIVE}
        return tuple(
            self._one(peers.get(node_id), seen.get(node_id), node_id, view, config, taken, now)
            for node_id in sorted(peers.keys() | seen.keys())
        )

    def _one(
        self,
        peer: Peer | None,
        seen: Seen | None,
        node_id: str,
        view: View,
        config: AutopilotConfig,
        taken: Mapping[str, str],
        now: float,
    ) -> Verdict:
        standing = seen.standing if seen is not None else Standing.ABSENT
        if node_id == view.own_id:
            standing = Standing.ALIVE  # we are, whatever our own gossip has heard of us
        reason = _ailment(peer, standing, node_id, view, config)
        memory = self._memory.get(node_id)
        if memory is None:
            memory = self._memory[node_id] = _Memory(not reason, now, standing, now)
        if memory.healthy == bool(reason):
            memory.healthy, memory.since = not reason, now
        if memory.standing is not standing:
            memory.standing, memory.standing_since = standing, now
        address = seen.address if seen is not None else peer.address if peer is not None else ""
        verdict = Verdict(
            peer=peer,
            seen=seen,
            node_id=node_id,
            name=seen.name if seen is not None else "",
            address=address,
            standing=standing,
            healthy=not reason,
            reason=reason,
            since=memory.since,
            dead=_death(peer, node_id, standing, taken, now - memory.standing_since, view),
        )
        return verdict


def _ailment(
    peer: Peer | None, standing: Standing, node_id: str, view: View, config: AutopilotConfig
) -> str:
    """Why a server is not healthy, "" if it is (the reference's four conditions)."""
    if standing is not Standing.ALIVE:
        return f"gossip: {standing.value}"
    if node_id == view.own_id:
        return ""
    if peer is None:
        return "not in the Raft configuration yet"
    if peer.last_contact_s is None:
        return "has not answered yet"
    if peer.last_contact_s > config.last_contact_threshold_s + view.heartbeat_s:
        return f"last contact {peer.last_contact_s:.1f}s ago"
    if peer.last_term != view.term:
        return "has no entry of this term yet"
    if view.last_index - peer.last_index > config.max_trailing_logs:
        return f"{view.last_index - peer.last_index} entries behind"
    return ""


def _death(
    peer: Peer | None,
    node_id: str,
    standing: Standing,
    taken: Mapping[str, str],
    standing_for_s: float,
    view: View,
) -> str:
    if peer is None or node_id == view.own_id:
        return ""
    if standing not in {Standing.FAILED, Standing.ABSENT}:
        return ""
    if peer.last_contact_s is not None and peer.last_contact_s < RAFT_ALIVE_S:
        return ""
    successor = taken.get(peer.address, node_id)
    if successor != node_id:
        return f"server {successor} is at its address now"
    if standing is Standing.FAILED and standing_for_s >= DEAD_GRACE_S:
        return f"failed for {standing_for_s:.0f}s"
    if standing is Standing.ABSENT and standing_for_s >= ABSENT_GRACE_S:
        return f"not seen for {standing_for_s:.0f}s"
    return ""


def plan(verdicts: Iterable[Verdict], view: View, config: AutopilotConfig, now: float) -> Plan:
    """The one change that is due, the most urgent first: left, dead, new, stable, moved."""
    judged = tuple(verdicts)
    waiting = {v.node_id: v.reason for v in judged if v.reason}
    if not view.settled:
        return Plan(None, waiting | {view.own_id: "the last change is not committed yet"})
    action = (
        _first_left(judged, view)
        or _first_dead(judged, config, waiting)
        or _first_new(judged)
        or _first_stable(judged, config, now, waiting)
        or _first_moved(judged)
    )
    return Plan(action, waiting)


def _first_left(judged: tuple[Verdict, ...], view: View) -> Action | None:
    for one in judged:
        gone = one.standing is Standing.LEFT and one.peer is not None
        if gone and one.node_id != view.own_id:
            return Remove(one.node_id, "left")
    return None


def _first_dead(
    judged: tuple[Verdict, ...], config: AutopilotConfig, waiting: dict[str, str]
) -> Action | None:
    """Non-voters first, for they cost nothing; a voter only under the guard."""
    dead = sorted((one for one in judged if one.dead), key=lambda one: (one.voter, one.node_id))
    for one in dead:
        if not config.cleanup_dead_servers:
            waiting[one.node_id] = f"{one.dead}; cleanup_dead_servers is off"
        elif reason := guard(one, judged, config):
            waiting[one.node_id] = f"{one.dead}; {reason}"
        else:
            return Remove(one.node_id, one.dead)
    return None


def guard(one: Verdict, judged: Iterable[Verdict], config: AutopilotConfig) -> str:
    """Why taking this voter out would be unsafe, "" if it is not."""
    if not one.voter:
        return ""
    rest = [other for other in judged if other.voter and other.node_id != one.node_id]
    healthy = sum(other.healthy for other in rest)
    if len(rest) < config.min_quorum:
        return f"{len(rest)} voters would remain, min_quorum is {config.min_quorum}"
    if healthy * 2 <= len(rest):
        return f"only {healthy} of the {len(rest)} voters that would remain are healthy"
    return ""


def _first_new(judged: tuple[Verdict, ...]) -> Action | None:
    for one in judged:
        if one.peer is None and one.standing is Standing.ALIVE:
            return AddNonVoter(one.node_id, one.address, "a server that gossip shows alive")
    return None


def _first_stable(
    judged: tuple[Verdict, ...], config: AutopilotConfig, now: float, waiting: dict[str, str]
) -> Action | None:
    for one in judged:
        if one.peer is None or one.voter or not one.healthy:
            continue
        if one.seen is not None and one.seen.non_voter:
            waiting[one.node_id] = "asks never to vote"
            continue
        if one.peer.staging:
            waiting[one.node_id] = "votes as soon as it has caught up"
            continue
        stable_s = now - one.since
        if stable_s >= config.server_stabilization_time_s:
            return Promote(one.node_id, f"healthy for {stable_s:.0f}s")
        left_s = config.server_stabilization_time_s - stable_s
        waiting[one.node_id] = f"healthy, votes in {left_s:.0f}s"
    return None


def _first_moved(judged: tuple[Verdict, ...]) -> Action | None:
    for one in judged:
        if one.peer is None or one.seen is None or one.standing is not Standing.ALIVE:
            continue
        if one.seen.address != one.peer.address:
            cause = f"moved from {one.peer.address}"
            return Readdress(one.node_id, one.seen.address, one.peer.voter, cause)
    return None


def failure_tolerance(judged: Iterable[Verdict]) -> tuple[int, int]:
    """How many servers may fail now, and how many if those without a vote got one in between."""
    counted = [one for one in judged if one.peer is not None]
    voters = sum(one.voter for one in counted)
    quorum = voters // 2 + 1
    healthy = sum(one.healthy for one in counted if one.voter)
    able = sum(one.healthy for one in counted if one.voter or not (one.seen and one.seen.non_voter))
    return max(0, healthy - quorum), max(0, able - quorum)
