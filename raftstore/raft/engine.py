"""PySyncObj 0.3.17 with our message handlers: the only file that reaches into its private parts.

Kept from PySyncObj: the role state machine, the tick (election timer, commit rule, check-quorum)
and the way a leader starts. Ours: log replication, votes, pre-vote, sending, applying. The stock
handlers lose committed entries (a follower cuts its log on every append, old acknowledgements
count in later terms, votes are counted instead of collected); each replacement below names the
hazard it removes. The class does no I/O: messages go in by ``receive``, out by ``take_messages``,
entries into a ``Journal``.

Since private methods are overridden, ``stock`` compares the package's version and the source of
every method that is replaced or relied on with recorded values before the first engine is built.

Messages leave in two classes. *Early* ones may overtake the disk. *Late* ones rest on what this
step wrote (acknowledgements, votes, vote requests) and must wait for it. While term
or vote are unsaved, everything but pre-votes is late.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from raftstore.raft.ballot import PreVotes, is_majority, log_is_current
from raftstore.raft.config import RaftConfig
from raftstore.raft.elections import (
    ALONE,
    LEADER_GONE,
    NO_LEADER_HEARD,
    ORDERED,
    Elections,
)
from raftstore.raft.entry_runs import entries_of_run
from raftstore.raft.frames import (
    Append,
    AppendReply,
    LeaseProbe,
    LeaseReply,
    Message,
    PreVoteReply,
    PreVoteRequest,
    Probe,
    ProbeReply,
    Removed,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from raftstore.raft.freshness import Freshness, majority_silent_s
from raftstore.raft.log import (
    CONFIG,
    PAYLOAD,
    PAYLOAD_HEAD,
    Entry,
    Journal,
    SnapshotPointer,
    payload_command,
)
from raftstore.raft.lost_disk import DiskIs, Forgotten
from raftstore.raft.matching import (
    SafetyViolation,
    first_new,
    held_by_majority,
    start_of_term,
)
from raftstore.raft.members import STAGING, UNTOLD_DISK, Config, Disk, decode_config
from raftstore.raft.outbox import Outbox, Outgoing
from raftstore.raft.patience import Patience, turn
from raftstore.raft.progress import Progress
from raftstore.raft.stock import (
    NoPoller,
    PeerNode,
    StockLog,
    StockOutlet,
    SyncObj,
    SyncObjConf,
    clock,
    now,
)
from raftstore.raft.strangers import is_heard, is_impostor

FOLLOWER, CANDIDATE, LEADER = 0, 1, 2
ROLES = ("follower", "candidate", "leader")
LONG_AGO = float("-inf")
LOST_QUORUM = "lost quorum"
HUNG_DISK = "hung disk"
TRANSFERRED = "transferred"
HIGHER_TERM = "higher term"
STEP_DOWN_REASONS = (LOST_QUORUM, HUNG_DISK, TRANSFERRED, HIGHER_TERM)


@dataclass(slots=True)
class EngineStats:
    """Counts since start."""

    elections_started: int = 0
    elections_won: int = 0
    pre_vote_rounds: int = 0
    step_downs: int = 0
    step_downs_by: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(STEP_DOWN_REASONS, 0)
    )
    step_down_reason: str = ""
    """Why we stopped leading the last time."""
    leader_changes: int = 0
    strangers_dropped: int = 0
    stale_replies_dropped: int = 0
    conflict_entries_cut: int = 0
    appends_refused_full: int = 0
    disks_lost: int = 0
    """Times a member, or we ourselves, came back without what had been promised."""


class RaftEngine(SyncObj):  # type: ignore[misc]
    """One server's Raft. Raises SafetyViolation, or whatever ``apply`` raises: both are fatal."""

    _disk_changed = False
    _given_away_in: int | None = None
    _why_stopped = LOST_QUORUM
    """By the tick, unless something else says so first."""

    def __init__(
        self,
        config: RaftConfig,
        journal: Journal,
        apply: Callable[[int, int, float, bytes], None],
        rng: random.Random,
    ) -> None:
        """``apply(index, term, stamp, payload)`` is called in order for each committed payload."""
        self._config = config
        self._journal = journal
        self._apply = apply
        self._rng = rng
        self._campaigning = False
        self._patience = Patience(config)
        self._outbox = Outbox()
        self._connected_ids: set[str] = set()
        self._disks: dict[str, Disk] = {}
        self._progress: dict[str, Progress] = {}
        self._seq = 0
        self._votes: set[str] = set()
        self._pre_votes = PreVotes(rng.getrandbits(32))
        self._cleared_term: int | None = None
        self._heard_at = LONG_AGO
        self._stamp = 0.0
        self._freshness = Freshness()
        self._heartbeat_due = False
        self._voter = False
        self._peers: tuple[str, ...] = ()
        self._others: tuple[str, ...] = ()
        self._members: dict[str, PeerNode] = {}
        self._ordered_term: int | None = None
        self.dismissed = False
        self.config: Config | None = None
        self.config_index = 0
        self.stats = EngineStats()
        self.elections = Elections()
        self.applies_held = False
        """While set, nothing is applied: the state is being written down."""
        self.apply_unfinished: Callable[[], bool] = lambda: False
        """Whether the last entry is still being applied, in slices (raftstore/store.py)."""
        self.on_probe_reply: Callable[[str, int], None] = lambda peer, number: None
        self.on_lease_reply: Callable[[str, int], None] = lambda peer, number: None
        self.on_configured: Callable[[int, int], None] = lambda index, term: None
        self.on_connected: Callable[[str], None] = lambda peer: None
        self.on_snapshot: Callable[[str, SnapshotOffer | SnapshotChunk | SnapshotReply], None] = (
            lambda peer, message: None
        )
        super().__init__(
            PeerNode(config.node_id),
            [],
            conf=SyncObjConf(
                autoTick=False,
                appendEntriesUseBatch=True,
                appendEntriesBatchSizeBytes=4 * 1024 * 1024,
                appendEntriesPeriod=config.heartbeat_s,
                raftMinTimeout=config.election_min_s,
                raftMaxTimeout=config.election_max_s,
                connectionTimeout=2 * config.election_max_s,
                leaderFallbackTimeout=config.election_min_s,  # hazard A6
                commandsWaitLeader=False,
                fullDumpFile=None,
                journalFile=None,
                useFork=False,
                onStateChanged=self._state_changed,
            ),
            transport=StockOutlet(self.request_vote),
        )
        self._poller = NoPoller()
        self._restore()

    def __dir__(self) -> list[str]:
        """Nothing: PySyncObj looks through all methods for replicated ones twice in each start."""
        return []

    def _restore(self) -> None:
        """Take over term, vote, commit and configuration from the journal (hazards B1, B7, D2)."""
        journal, config = self._journal, self._config
        self._SyncObj__raftLog = StockLog(journal)
        self._SyncObj__raftCurrentTerm = max(journal.term, journal.last_term)
        self._SyncObj__votedForNodeId = journal.vote if journal.term >= journal.last_term else None
        applied = journal.snapshot.index if journal.snapshot is not None else journal.first_index
        self._SyncObj__raftCommitIndex = max(journal.commit_hint, applied)
        self._SyncObj__raftLastApplied = applied  # the shell restores that snapshot before a step
        self._started_at = self.now()
        self._adopt_config()
        if journal.last_index <= 1 and journal.term == 0:
            # Nobody can have voted or led: no boot guard, and a short first deadline.
            self._started_at = LONG_AGO
            self._deadline_in(*config.first_election_s)
        if not self._peers:
            self._SyncObj__raftElectionDeadline = 0.0

    # -- what the rest of the package may ask

    def now(self) -> float:
        """The engine's monotonic clock."""
        return now()

    def role(self) -> str:
        """follower, candidate or leader."""
        return ROLES[self._SyncObj__raftState]

    def leads(self) -> bool:
        """Are we leader, as far as we know? (Not a licence to serve reads.)"""
        return bool(self._SyncObj__raftState == LEADER)

    def term(self) -> int:
        """Current term."""
        return int(self._SyncObj__raftCurrentTerm)

    def leader_id(self) -> str | None:
        """Node id of the leader we know."""
        leader = self._SyncObj__raftLeader
        return None if leader is None else leader.id

    def commit_index(self) -> int:
        """Highest index known to be committed."""
        return int(self._SyncObj__raftCommitIndex)

    def applied_index(self) -> int:
        """Highest index handed to ``apply``."""
        return int(self._SyncObj__raftLastApplied)

    def apply_is_due(self) -> bool:
        """Is there an entry that the next tick can apply?"""
        applied: int = self._SyncObj__raftLastApplied
        if applied >= self._SyncObj__raftCommitIndex or applied >= self._journal.saved_index:
            return False
        return not self.applies_held and not self.apply_unfinished()

    def commit_is_due(self) -> bool:
        """Will the next tick of a leader commit something that our own disk has?"""
        saved, commit = self._journal.saved_index, self.commit_index()
        return self.leads() and saved > commit and self._held_by_majority(saved) > commit

    def send_is_due(self) -> bool:
        """Leader: is there something for a peer whose window has room?"""
        if not self.leads():
            return False
        first, last = self._journal.first_index, self._journal.last_index
        config = self._config
        for peer, progress in self._progress.items():
            if (
                first < progress.next_index <= last
                and peer in self._connected_ids
                and progress.may_send(config.window_appends_max, config.window_bytes_max)
            ):
                return True
        return False

    @property
    def stamp(self) -> float:
        """Replicated time: the highest stamp of what was applied."""
        return self._stamp

    def heartbeat_is_due(self) -> bool:
        """Will ``send_appends`` send a heartbeat?"""
        return self._heartbeat_due

    def may_read(self) -> bool:
        """Do we lead and have applied an entry of our own term (read index, step 1)?"""
        noop = self._SyncObj__noopIDx
        return self.leads() and noop is not None and self.applied_index() >= noop

    def peer_ids(self) -> tuple[str, ...]:
        """The other voters, sorted."""
        return self._peers

    def is_voter(self) -> bool:
        """Do we vote, by the configuration in force?"""
        return self._voter

    def disks(self) -> dict[str, Disk]:
        """What connected members, and we, keep promises on."""
        known = {n: disk for n, disk in self._disks.items() if n in self._connected_ids}
        return {**known, self._config.node_id: self._journal.disk}

    def counts(self, node_id: str) -> bool:
        """Does a member remember what it has promised, as far as we can see?

        If not, neither its votes nor its acknowledgements count, for it would give them against
        what it has forgotten; a leader sends it the log all the same.
        """
        member = self.config.members.get(node_id) if self.config is not None else None
        if node_id == self._config.node_id:
            return member is None or member.keeps_promises_on(self._journal.disk)
        return member is not None and member.keeps_promises_on(
            self._disks.get(node_id, UNTOLD_DISK)
        )

    def config_is_committed(self) -> bool:
        """Can the configuration in force no longer be rolled back?"""
        return self.commit_index() >= self.config_index

    def may_change(self) -> bool:
        """May the next configuration be appended (Raft thesis, 4.1, and Ongaro's correction)?"""
        noop = self._SyncObj__noopIDx
        return (
            self.leads()
            and noop is not None
            and self.commit_index() >= noop
            and self.config_is_committed()
        )

    def heard_lately(self, within_s: float) -> frozenset[str]:
        """Leader: members that have answered an append within so many seconds, and ourselves."""
        least, heard = self.now() - within_s, self._SyncObj__lastResponseTime
        alive = {
            n
            for n, node in self._members.items()
            if heard.get(node, LONG_AGO) >= least and self.counts(n)
        }
        return frozenset((*alive, self._config.node_id))

    def staging_lags(self) -> dict[str, int | None]:
        """Leader: entries that each staging server lacks, None where it is not heard."""
        config = self.config
        heard = self.heard_lately(2 * self._config.heartbeat_s)
        # It votes by its disk, so it must have what says so: that is in the newest configuration.
        able = {n for n in heard if self.counts(n) and self.match_index(n) >= self.config_index}
        return {
            n: self._journal.last_index - self.match_index(n) if n in able else None
            for n in self._others
            if config is not None and config.members[n].role == STAGING
        }

    def heir(self) -> str | None:
        """Leader: the connected voter that has the most of our log."""
        heard = self.heard_lately(self._config.election_min_s) & self._connected_ids
        able = [n for n in self._peers if n in heard]
        return max(able, key=lambda n: (self.match_index(n), n), default=None)

    def age_s(self, wall: float) -> float:
        """How old the state here may be, in seconds; ``wall`` is the time in Unix seconds.

        Until this server has been up to date once since its start, only the time of the last entry
        that it has applied is known. A leader that has not heard its majority for an election
        timeout, such as one that was frozen, may have been replaced then.
        """
        if self.leads():
            heard = [self._SyncObj__lastResponseTime[self._members[p]] for p in self._peers]
            silent_s = majority_silent_s(heard, self.now())
            return silent_s if silent_s > self._config.election_min_s else 0.0
        fresh_at = self._freshness.fresh_at(self.applied_index())
        return max(0.0, wall - self._stamp if fresh_at is None else self.now() - fresh_at)

    def last_contact_s(self) -> float | None:
        """Seconds since the leader was heard; 0 on the leader, None if never."""
        if self.leads():
            return 0.0
        return None if self._heard_at == LONG_AGO else max(0.0, self.now() - self._heard_at)

    def deadline(self) -> float:
        """When ``tick`` has something to do without any input."""
        if self.leads():
            return float(self._SyncObj__newAppendEntriesTime)
        if not self._voter:
            return float("inf")
        return float(self._SyncObj__raftElectionDeadline)

    def match_index(self, peer: str) -> int:
        """How far a peer's log is known to equal ours (0 unless we lead)."""
        return int(self._SyncObj__raftMatchIndex.get(self._members.get(peer), 0))

    def next_index(self, peer: str) -> int | None:
        """Where sending to a peer goes on; None for ourselves."""
        progress = self._progress.get(peer)
        return None if progress is None else progress.next_index

    def sending_state(self, peer: str) -> str:
        """probe or pipeline, or offline without a link; empty for ourselves."""
        progress = self._progress.get(peer)
        if progress is None:
            return ""
        if peer not in self._connected_ids:
            return "offline"
        return "probe" if progress.probing else "pipeline"

    def inflight_bytes(self, peer: str) -> int:
        """What a peer has been sent and has not answered yet."""
        progress = self._progress.get(peer)
        return 0 if progress is None else progress.inflight_bytes

    def last_ack_s(self, peer: str) -> float | None:
        """Seconds since a peer answered us as leader; 0 for ourselves, None if it never did."""
        if peer == self._config.node_id:
            return 0.0
        at = self._SyncObj__lastResponseTime.get(self._members.get(peer))
        return None if at is None else max(0.0, self.now() - float(at))

    # -- inputs

    def tick(self) -> None:
        """Elections, commit, check-quorum."""
        if self.leads():
            self._commit_majority(self._journal.last_index)
        self._onTick(0.0)

    def _commit_majority(self, own: int) -> None:
        """Find at once what the tick's loop finds entry by entry; it then has nothing left to do.

        The same rule: what a majority holds, if it is of our own term (Raft, figure 8). Terms never
        fall along a log, so nothing below an entry of an older term is of ours.
        """
        commit = self.commit_index()
        if own > commit and (index := self._held_by_majority(own)) > commit:
            self._SyncObj__raftCommitIndex = self._journal.commit_hint = index

    def _held_by_majority(self, own: int) -> int:
        """The highest index that counts as held by most, with ours up to ``own``; 0 for none."""
        match = self._SyncObj__raftMatchIndex
        held = [match[self._members[peer]] for peer in self._peers]
        index = held_by_majority(held, own)
        return index if self._journal.term_at(index) == self.term() else 0

    def commit(self) -> None:
        """Leader: commit what a majority and our own disk hold, without a tick."""
        if self.leads():
            self._commit_majority(self._journal.saved_index)

    def append_payloads(self, payloads: Sequence[bytes], stamp: float) -> int:
        """Put proposals, at least one, into the leader's log and return the first one's index."""
        assert self.leads()
        first, term = self._journal.last_index + 1, self.term()
        head = payload_command(stamp, b"")
        commands = [head + payload for payload in payloads]
        self._journal.extend(entries_of_run(term, commands, first))
        return first

    def bootstrap(self, record: bytes) -> None:
        """Write the first entry, alike on all bootstrap servers, into an empty log."""
        assert self._journal.last_index == self._journal.first_index == 0
        self._journal.append((bytes((CONFIG,)) + record, 1, 0))
        self._set_disk(replace(self._journal.disk, founding=True))
        self._deadline_in(*self._config.first_election_s)
        if not self._peers:
            self._SyncObj__raftElectionDeadline = 0.0

    def claim_founding(self) -> None:
        """What we hold is the first that we ever held, whoever says otherwise."""
        if not self._journal.disk.founding:
            self._set_disk(replace(self._journal.disk, founding=True))

    def append_config(self, config: Config) -> int:
        """Leader: put the next configuration into the log, and in force. ``may_change`` holds."""
        index = self._journal.last_index + 1
        self._journal.append((bytes((CONFIG,)) + config.encode(), index, self.term()))
        self._adopt_config()
        return index

    def order_election(self, peer: str) -> None:
        """Leader: tell a voter to campaign at once."""
        self._given_away_in = self.term()
        self._send(peer, TimeoutNow(self.term()), late=True)

    def step_down(self) -> None:
        """Stop leading, in the same term and without touching the log."""
        assert self.leads()
        self._why_stopped = HUNG_DISK
        self._SyncObj__setState(FOLLOWER)
        self._follow(None)
        self._deadline_in(*self._patience.for_leader())

    def restored(self, index: int, stamp: float) -> None:
        """Before the first step: the state is that of a snapshot at ``index``."""
        assert self._journal.first_index <= index <= self.commit_index()
        self._SyncObj__raftLastApplied = index
        self._stamp = max(self._stamp, stamp)

    def install(self, pointer: SnapshotPointer, config: tuple[int, bytes], stamp: float) -> None:
        """At the start of a step: a leader's snapshot replaces log and state up to its index."""
        assert pointer.index > self.commit_index()
        self._journal.install(pointer, config)
        self._SyncObj__raftCommitIndex = self._SyncObj__raftLastApplied = pointer.index
        self._stamp = max(self._stamp, stamp)
        self._adopt_config()

    def peers_behind_log(self) -> tuple[str, ...]:
        """Leader: connected peers that need entries which are no longer in the log."""
        first = self._journal.first_index
        return tuple(
            peer
            for peer in self._others
            if peer in self._connected_ids and self._progress[peer].next_index <= first
        )

    def matched(self, peer: str, index: int) -> None:
        """Leader: the peer holds, durably, what is committed up to ``index``."""
        if not self.counts(peer):
            if self._progress[peer].next_index <= index:
                self._progress[peer].restart(index + 1, self._seq + 1)
            return
        node, match = self._members[peer], self._SyncObj__raftMatchIndex
        index = min(index, self._journal.last_index)
        if index > match[node]:
            match[node] = index
            self._restart_progress(peer)

    def post(self, peer: str, message: Message, *, late: bool = False) -> None:
        """Send what another part of the replica has to say."""
        self._send(peer, message, late=late)

    def connected(self, peer: str, disk: Disk | None = None, last_index: int | None = None) -> None:
        """A link to the peer is up; what was on its way over the old one is lost.

        ``disk`` and ``last_index`` are what the peer says of its memory, if anything.
        """
        self.on_connected(peer)
        self._connected_ids.add(peer)
        self._learn_disk(peer, disk or UNTOLD_DISK)
        if self._disk_changed:  # our hello may have been from before
            self._send(peer, DiskIs(self._journal.disk), late=True)
        node = self._members.get(peer)
        if node is None:
            return
        match = self.match_index(peer) if self.leads() else 0
        if last_index is not None and last_index < match:
            # The same disk, but as it was earlier: a copy was put back.
            self._send(peer, Forgotten(self.term(), match))
            self._learn_disk(peer, Disk(founding=False))
        self._SyncObj__onNodeConnected(node)
        self._restart_progress(peer)

    def disconnected(self, peer: str) -> None:
        """The link is gone."""
        self._connected_ids.discard(peer)
        node = self._members.get(peer)
        if node is not None:
            self._SyncObj__onNodeDisconnected(node)
            self._restart_progress(peer)

    def leader_lost(self, peer: str) -> None:
        """The leader's process visibly died: forget it and hurry. Touches liveness only."""
        if self.leads() or self.leader_id() != peer or self._config.lease:
            return  # with leases, a promise of loyalty outlasts a link
        self._follow(None)
        # Nor is there any doubt left from our own start: who led before it is dead.
        self._heard_at = self._started_at = LONG_AGO
        self._deadline_in(*self._patience.after_loss(self._turn(peer)))

    def receive(self, peer: str, message: Message) -> None:
        """Handle one message of an authenticated peer."""
        self._SyncObj__onMessageReceived(peer, message)

    def confirmation(self, peer: str, probe: Probe) -> ProbeReply | None:
        """The answer to a read probe of the leader that we follow; None for anybody else's.

        It says what is so now and promises nothing: a leader of a newer term may be chosen right
        after it, but what that one commits is then newer than the read. So it waits for no disk,
        and whoever has a newer term, on disk or not, does not give it.
        """
        if probe.term != self.term() or self.leader_id() != peer:
            return None
        return ProbeReply(probe.term, probe.round) if self._listens_to(peer, probe) else None

    # -- outputs

    def take_messages(self) -> tuple[list[Outgoing], list[Outgoing]]:
        """(early, late) messages since the last call."""
        return self._outbox.take()

    def take_early(self) -> list[Outgoing]:
        """The early ones since the last call."""
        return self._outbox.take_early()

    def probe(self, number: int) -> None:
        """Ask the voters whether we still lead."""
        for peer in self._peers:
            self._send(peer, Probe(self.term(), number))

    def lease_probe(self, number: int) -> None:
        """Ask the voters to stay loyal."""
        for peer in self._peers:
            self._send(peer, LeaseProbe(self.term(), number))

    def _send(self, peer: str, message: Message, *, late: bool = False) -> None:
        self._outbox.put(peer, message, late=late or self._journal.state_dirty)

    # -- configuration

    def _adopt_config(self) -> None:
        """Put the journal's newest configuration in force (hazards D2, D3).

        Only voters are handed to PySyncObj, which counts them. Non-voters are sent to and answered
        by our own code alone: its read-only set would be reset with the voters at elections and
        dropped at disconnects, but neither sent to nor listened to by anything we have kept.
        """
        stored = self._journal.config
        self.config = decode_config(stored[1]) if stored is not None else None
        self.config_index = stored[0] if stored is not None else 0
        me = self._config.node_id
        members = self.config.members if self.config is not None else {}
        voters = self.config.voters if self.config is not None else frozenset()
        self._voter = me in voters and self.counts(me)
        self._members = {n: self._members.get(n) or PeerNode(n) for n in members if n != me}
        self._others = tuple(sorted(self._members))
        self._peers = tuple(n for n in self._others if n in voters)
        match = self._SyncObj__raftMatchIndex
        heard = self._SyncObj__lastResponseTime
        for gone in [node for node in match if node.id not in self._members]:
            match.pop(gone, None)
            heard.pop(gone, None)
            self._progress.pop(gone.id, None)
        for peer in self._others:
            node = self._members[peer]
            match.setdefault(node, 0)
            heard.setdefault(node, self.now())
            self._progress.setdefault(peer, Progress(self._journal.last_index + 1, self._seq + 1))
            if peer in self._connected_ids:
                self._SyncObj__onNodeConnected(node)
        self._SyncObj__otherNodes = {self._members[peer] for peer in self._peers}

    # -- overridden: elections

    def _deadline_in(self, least_s: float, most_s: float) -> None:
        self._SyncObj__raftElectionDeadline = self.now() + self._rng.uniform(least_s, most_s)

    def _turn(self, lost: str | None = None) -> int:
        return turn(self._config.node_id, self._peers, lost)

    def _SyncObj__generateRaftTimeout(self) -> float:
        campaigning, self._campaigning = self._campaigning, False
        patience = self._patience
        wait = patience.for_votes(self._turn()) if campaigning else patience.for_leader()
        return self._rng.uniform(*wait)

    def _SyncObj__connectedToAnyone(self) -> bool:
        """Asked by the tick exactly when the election timer has expired: the pre-vote gate (A7)."""
        if not self._voter or self.dismissed:
            self._deadline_in(*self._patience.for_leader())
            return False
        if not self._peers or self._cleared_term == self.term():
            self._cleared_term = None
            self._campaigning = True
            self._votes = {self._config.node_id}
            self.stats.elections_started += 1
            self.elections.campaigned(self.now(), self.term() + 1, self._cause(), self._votes)
            return True
        self._start_pre_vote()
        return False

    def _start_pre_vote(self) -> None:
        self._pre_votes.begin(self._config.node_id)
        self._cleared_term = None
        self.stats.pre_vote_rounds += 1
        self.elections.asked(self.now(), self.term() + 1, self._cause(), self._pre_votes.granted)
        self._deadline_in(*self._patience.for_pre_votes(self._turn()))
        request = PreVoteRequest(
            term=self.term() + 1,
            round=self._pre_votes.round,
            last_index=self._journal.last_index,
            last_term=self._journal.last_term,
        )
        for peer in self._peers:
            self._outbox.put(peer, request, late=False)  # rests on nothing that needs saving

    def _cause(self) -> str:
        """Why we try to become leader, for whoever asks."""
        if not self._peers:
            return ALONE
        if self._ordered_term == self.term():
            return ORDERED
        return LEADER_GONE if self._patience.hurried else NO_LEADER_HEARD

    def request_vote(self, peer: str, message: dict[str, Any]) -> None:
        """PySyncObj's tick asks for a vote; our term and own vote must be on disk first."""
        request = VoteRequest(
            term=message["term"],
            last_index=message["last_log_index"],
            last_term=message["last_log_term"],
            transfer=self._ordered_term == message["term"] - 1,
        )
        self._send(peer, request, late=True)

    def _loyal(self) -> bool:
        """Has a leader been heard (or might one have been, before our start) lately? (A7)"""
        at, least = self.now(), self._config.election_min_s
        return self.leads() or at - self._heard_at < least or at - self._started_at < least

    def _log_is_current(self, last_index: int, last_term: int) -> bool:
        ours = (self._journal.last_term, self._journal.last_index)
        return log_is_current((last_term, last_index), ours)

    def _follow(self, leader: PeerNode | None) -> None:
        self._SyncObj__raftLeader = leader

    def _new_term(self, term: int) -> None:
        given = self._given_away_in == self.term()
        self._why_stopped = TRANSFERRED if given else HIGHER_TERM
        self._SyncObj__setCurrentTerm(term, None)
        self._SyncObj__setState(FOLLOWER)
        self._follow(None)
        self._cleared_term = None
        self.elections.overtaken(self.now(), term)

    def _state_changed(self, old: int, new: int) -> None:
        if old == LEADER:
            self.stats.step_downs += 1
            self.stats.step_downs_by[self._why_stopped] += 1
            self.stats.step_down_reason = self._why_stopped
            self.elections.stepped_down(self.now(), self._why_stopped)
        self._why_stopped = LOST_QUORUM
        if new == LEADER:
            self.stats.elections_won += 1
            self.elections.won(self.now(), self.term(), self._config.node_id)
            for peer in self._others:
                self._SyncObj__raftMatchIndex[self._members[peer]] = 0
                self._restart_progress(peer)

    # -- overridden: messages

    def _SyncObj__onMessageReceived(self, peer: str, message: Message) -> None:
        if not self._listens_to(peer, message):
            self.stats.strangers_dropped += 1
            return
        match message:
            case Append():
                self._on_append(peer, message)
            case AppendReply():
                self._on_append_reply(peer, message)
            case Probe():
                reply = self.confirmation(peer, message)
                if reply is not None:
                    self._send(peer, reply)
            case ProbeReply():
                if self._is_answer(peer, message.term):
                    self.on_probe_reply(peer, message.round)
            case VoteRequest():
                self._on_vote_request(peer, message)
            case VoteReply():
                self._on_vote_reply(peer, message)
            case PreVoteRequest():
                granted = (
                    message.term > self.term()
                    and not self._loyal()
                    and self._log_is_current(message.last_index, message.last_term)
                )
                self._send(peer, PreVoteReply(self.term(), message.round, granted))
            case PreVoteReply():
                self._on_pre_vote_reply(peer, message)
            case SnapshotOffer() | SnapshotChunk():
                self._on_snapshot(peer, message)
            case SnapshotReply():
                self._on_snapshot_reply(peer, message)
            case TimeoutNow():
                self._on_timeout_now(peer, message)
            case Removed():
                self.dismissed = message.index > self.config_index
            case LeaseProbe():
                self._on_lease_probe(peer, message)
            case LeaseReply():
                if self._is_answer(peer, message.term):
                    self.on_lease_reply(peer, message.round)
            case DiskIs():
                self._learn_disk(peer, message.disk)
            case Forgotten():
                self._on_forgotten(peer, message)

    def _listens_to(self, peer: str, message: Message) -> bool:
        known = self.config is not None
        return is_heard(message, configured=known, member=peer in self._members)

    def _is_answer(self, peer: str, term: int) -> bool:
        """Does a voter of ours confirm that we lead?"""
        return term == self.term() and self.leads() and peer in self._peers and self.counts(peer)

    def _on_forgotten(self, peer: str, message: Forgotten) -> None:
        """The leader remembers more of us than we do: from now on we are on another disk."""
        if message.term < self.term() or message.index <= self._journal.saved_index:
            return
        self.stats.disks_lost += 1
        self._set_disk(Disk(f"{self._rng.getrandbits(64):016x}", founding=False))

    def _set_disk(self, disk: Disk) -> None:
        """Others decide by it whether to count us, so they must know."""
        self._journal.set_disk(disk)
        self._adopt_config()
        self._disk_changed = True
        for peer in sorted(self._connected_ids):
            self._send(peer, DiskIs(disk), late=True)

    def _learn_disk(self, peer: str, disk: Disk) -> None:
        before = self._disks.get(peer)
        self._disks[peer] = disk
        node = self._members.get(peer)
        if before is not None and before.id != disk.id and node is not None:
            self._SyncObj__raftMatchIndex[node] = 0  # it was another disk that had all that
            self._restart_progress(peer)

    def _on_timeout_now(self, peer: str, message: TimeoutNow) -> None:
        """The leader hands over to us: campaign at the next tick, without asking first."""
        if message.term == self.term() and self.leader_id() == peer and self._voter:
            self._ordered_term = self._cleared_term = self.term()
            self._SyncObj__raftElectionDeadline = 0.0

    def _on_lease_probe(self, peer: str, message: LeaseProbe) -> None:
        """Promise to stay loyal: neither campaign nor vote for an election timeout from now."""
        if message.term == self.term() and self.leader_id() == peer and self._config.lease:
            self._hear_leader()
            self._send(peer, LeaseReply(message.term, message.round), late=True)

    def _hear_leader(self) -> None:
        self._heard_at = self.now()
        self._patience.calm()
        if self._ordered_term == self.term():
            return  # it has told us to campaign: what it sent meanwhile does not take that back
        self._SyncObj__raftElectionDeadline = self._heard_at + self._SyncObj__generateRaftTimeout()
        self._cleared_term = None

    def _on_append(self, peer: str, message: Append) -> None:
        """AppendEntries; cuts only at a real conflict and answers what it has verified (A1)."""
        journal = self._journal
        if message.term < self.term():
            self._reply(peer, message, False, journal.last_index + 1)
            return
        if self._is_impostor(peer, message.term):
            return
        self._heed_leader(peer, message.term)
        if journal.full and message.entries:
            self.stats.appends_refused_full += 1  # no answer: the leader tries again later
            return
        if message.prev_index < journal.first_index:
            self._reply(peer, message, False, self.commit_index() + 1)
            return
        prev_term = journal.term_at(message.prev_index)
        if prev_term is None:
            self._reply(peer, message, False, journal.last_index + 1)
            return
        if prev_term != message.prev_term:
            start = start_of_term(journal, message.prev_index, self.commit_index())
            self._reply(peer, message, False, start)
            return
        if not self._take_entries(peer, message):
            return
        match = message.prev_index + len(message.entries)
        self._SyncObj__leaderCommitIndex = message.commit
        self._freshness.heard(message.answered, message.commit, self.applied_index())
        commit = min(message.commit, match)
        if commit > self.commit_index():
            self._SyncObj__raftCommitIndex = commit
            journal.commit_hint = commit
        self._reply(peer, message, True, match)

    def _heed_leader(self, peer: str, term: int) -> None:
        """A leader of our term, or of a newer one, has spoken: follow it, and stay calm."""
        if term > self.term():
            self._new_term(term)
        if self.leads():
            raise SafetyViolation(f"{peer} also leads term {term}; stop and report this")
        if self.leader_id() != peer:
            self.stats.leader_changes += 1
            self.elections.led_by(self.now(), term, peer)
            self._freshness.follow()
        self._SyncObj__setState(FOLLOWER)
        self._follow(self._members.get(peer) or PeerNode(peer))
        self.dismissed = False
        self._hear_leader()

    def _is_impostor(self, peer: str, term: int) -> bool:
        claims = is_impostor(
            peer,
            term,
            our_term=self.term(),
            leader_id=self.leader_id(),
            configured=self.config is not None,
            member=peer in self._members,
        )
        self.stats.strangers_dropped += claims
        return claims

    def _on_snapshot(self, peer: str, message: SnapshotOffer | SnapshotChunk) -> None:
        if message.term < self.term() or self._is_impostor(peer, message.term):
            return  # the answer to the next append tells it so
        self._heed_leader(peer, message.term)
        self.on_snapshot(peer, message)

    def _on_snapshot_reply(self, peer: str, reply: SnapshotReply) -> None:
        if reply.term > self.term():
            self._new_term(reply.term)
        elif self.leads() and reply.term == self.term() and peer in self._progress:
            if self.counts(peer):
                self._SyncObj__lastResponseTime[self._members[peer]] = self.now()
            self.on_snapshot(peer, reply)

    def _reply(self, peer: str, message: Append, ok: bool, index: int) -> None:
        reply = AppendReply(term=self.term(), seq=message.seq, ok=ok, index=index)
        self._freshness.answering(message.seq, self.now())
        self._send(peer, reply, late=ok)

    def _take_entries(self, peer: str, message: Append) -> bool:
        first = first_new(self._journal, message.entries)
        if first is None:
            return True
        journal = self._journal
        index = message.entries[first][1]
        reconfigured = False
        if index <= journal.last_index:
            if index <= self.commit_index():
                if peer not in self._members:  # nobody from outside may end this process
                    self.stats.strangers_dropped += 1
                    return False
                raise SafetyViolation(f"the leader's entry {index} differs from a committed one")
            self.stats.conflict_entries_cut += journal.last_index + 1 - index
            reconfigured = journal.config is not None and journal.config[0] >= index
            journal.cut_from(index)
        entries = message.entries[first:] if first else message.entries
        for entry in entries:
            if entry[0][0] == CONFIG:
                decode_config(entry[0][1:])
                reconfigured = True
        journal.extend(entries)
        if reconfigured:
            self._adopt_config()
        return True

    def _on_append_reply(self, peer: str, reply: AppendReply) -> None:
        if reply.term > self.term():
            self._new_term(reply.term)  # A5: a deposed leader learns of it
            return
        node = self._members[peer]
        progress = self._progress.get(peer)
        if not self.leads() or not self._reply_is_current(reply) or progress is None:
            self.stats.stale_replies_dropped += 1
            return
        match = self._SyncObj__raftMatchIndex
        if not self.counts(peer):  # it gets the log, but has no part in what is committed
            if reply.ok:
                progress.acknowledged(reply.seq, reply.index)
            else:
                progress.refused(reply.seq, reply.index, 0, self._seq + 1)
            return
        if reply.ok:
            match[node] = max(match[node], min(reply.index, self._journal.last_index))
            progress.acknowledged(reply.seq, match[node])
        else:
            progress.refused(reply.seq, reply.index, match[node], self._seq + 1)
        self._SyncObj__lastResponseTime[node] = self.now()

    def _reply_is_current(self, reply: AppendReply) -> bool:
        """A2: an acknowledgement counts only in the term that asked for it."""
        return reply.term == self.term()

    def _on_vote_request(self, peer: str, message: VoteRequest) -> None:
        # Also without a vote by our own configuration: a newer one may count on us.
        if self._loyal() and not message.transfer:
            self._send(peer, VoteReply(self.term(), False))  # and keep our term (A7)
            return
        if message.term > self.term():
            self._new_term(message.term)
        granted = (
            message.term == self.term()
            and self._SyncObj__raftState == FOLLOWER
            and self._SyncObj__votedForNodeId in (None, peer)  # A5: the same answer again
            and self._log_is_current(message.last_index, message.last_term)
        )
        if granted:
            self._SyncObj__setCurrentTerm(message.term, peer)
            self._SyncObj__raftElectionDeadline = self.now() + self._SyncObj__generateRaftTimeout()
        self._send(peer, VoteReply(self.term(), granted), late=granted)

    def _on_vote_reply(self, peer: str, reply: VoteReply) -> None:
        if reply.term > self.term():
            self._new_term(reply.term)
            return
        if (
            self._SyncObj__raftState != CANDIDATE
            or reply.term != self.term()
            or not reply.granted
            or peer not in self._peers
            or not self.counts(peer)
        ):
            return
        if self._won_with(peer):
            self._SyncObj__onBecomeLeader()

    def _won_with(self, peer: str) -> bool:
        self._votes.add(peer)
        return is_majority(self._votes, len(self._peers))

    def _on_pre_vote_reply(self, peer: str, reply: PreVoteReply) -> None:
        if reply.term > self.term():
            self._new_term(reply.term)
            return
        if self.leads() or not reply.granted or peer not in self._peers or not self.counts(peer):
            return
        if self._pre_votes.grant(peer, reply.round, len(self._peers)):
            self._cleared_term = self.term()
            self._SyncObj__raftElectionDeadline = 0.0

    # -- overridden: sending (hazards A3, A10, F3)

    def _SyncObj__sendAppendEntries(self) -> None:
        """Called by the tick when a heartbeat is due; sending itself waits for ``send_appends``."""
        self._SyncObj__newAppendEntriesTime = self.now() + self._config.heartbeat_s
        self._heartbeat_due = True

    def send_appends(self) -> None:
        """Leader: send what each window allows, the commit index if it moved, or a heartbeat."""
        if not self.leads():
            return
        heartbeat, self._heartbeat_due = self._heartbeat_due, False
        at, config, journal = self.now(), self._config, self._journal
        batches: dict[int, tuple[tuple[Entry, ...], int]] = {}  # most followers get the same
        for peer in self._others:
            if peer not in self._connected_ids:
                continue
            progress = self._progress[peer]
            if progress.overdue(at, config.election_min_s):
                self._restart_progress(peer)
            sent = False
            while journal.first_index < progress.next_index <= journal.last_index and (
                progress.may_send(config.window_appends_max, config.window_bytes_max)
            ):
                first = progress.next_index
                if first not in batches:
                    batches[first] = self._batch_from(first)
                self._send_batch(peer, progress, *batches[first], at)
                sent = True
            if not sent and (heartbeat or progress.sent_commit < self.commit_index()):
                self._send_empty(peer, progress)

    def send_heartbeats(self) -> None:
        """While the disk is slow: keep followers calm with appends that carry nothing new."""
        for peer in self._others:
            if peer in self._connected_ids:
                self._send_empty(peer, self._progress[peer])

    def _batch_from(self, first: int) -> tuple[tuple[Entry, ...], int]:
        """The entries of one append, and the bytes of their commands."""
        config = self._config
        entries = self._journal.entries(
            first, first + config.append_entries_max - 1, bytes_max=config.append_bytes_max
        )
        return tuple(entries), sum([len(entry[0]) for entry in entries])

    def _send_batch(
        self, peer: str, progress: Progress, entries: tuple[Entry, ...], size: int, at: float
    ) -> None:
        first = progress.next_index
        self._seq += 1
        self._send(peer, self._append(peer, first - 1, entries))
        progress.sent(self._seq, size, first + len(entries), at)
        progress.sent_commit = self.commit_index()

    def _send_empty(self, peer: str, progress: Progress) -> None:
        # A probing peer is asked about the place we mean to send from; others about what they have.
        first = self._journal.first_index
        known = max(self.match_index(peer), first)
        asks = progress.probing and not progress.inflight and progress.next_index > first
        prev = progress.next_index - 1 if asks else known
        self._seq += 1
        self._send(peer, self._append(peer, prev, ()))
        progress.sent_commit = self.commit_index()

    def _append(self, peer: str, prev_index: int, entries: tuple[Entry, ...]) -> Append:
        prev_term = self._journal.term_at(prev_index)
        assert prev_term is not None, f"no entry {prev_index}"
        return Append(
            term=self.term(),
            seq=self._seq,
            prev_index=prev_index,
            prev_term=prev_term,
            commit=self.commit_index(),
            entries=entries,
            answered=self._progress[peer].answered,
        )

    def _restart_progress(self, peer: str) -> None:
        progress = self._progress.get(peer)
        if progress is not None:
            match = self.match_index(peer) if self.leads() else 0
            start = match + 1 if match else self._journal.last_index + 1
            progress.restart(start, self._seq + 1)

    # -- overridden: applying (hazards C1-C3, F8)

    def _SyncObj__applyLogEntries(self) -> bool:
        """The tick applies nothing: that can be done beside the disk (``apply_committed``)."""
        return False

    def apply_committed(self) -> None:
        """Apply a bounded slice of what is committed and on our own disk.

        Also while a batch is being written: what is in it counts as on disk only afterwards.
        """
        if self.applies_held or self.apply_unfinished():
            return
        journal, config = self._journal, self._config
        first = self.applied_index() + 1
        last = min(self.commit_index(), journal.saved_index, first + config.apply_entries_max - 1)
        if first > last:
            return
        read_clock, unfinished, apply = clock(), self.apply_unfinished, self._apply
        stop_at = read_clock() + config.apply_budget_s
        head, head_size = PAYLOAD_HEAD.unpack_from, PAYLOAD_HEAD.size
        for command, index, term in journal.entries(first, last, bytes_max=config.apply_bytes_max):
            if command[0] == PAYLOAD:
                stamp = head(command)[1]
                if stamp > self._stamp:
                    self._stamp = stamp
                apply(index, term, self._stamp, command[head_size:])
            elif command[0] == CONFIG:
                self.on_configured(index, term)
            self._SyncObj__raftLastApplied = index
            if read_clock() > stop_at or unfinished():
                break
        journal.trim_memory(self.applied_index())

    # -- overridden: what must never run

    def _SyncObj__doApplyCommand(self, command: bytes) -> NoReturn:
        raise RuntimeError("the stock apply unpickles; it must not be reached")

    def _SyncObj__parseChangeClusterRequest(self, command: bytes) -> None:
        return None

    def _SyncObj__tryLogCompaction(self) -> None:
        return None

    def _checkCommandsToApply(self) -> None:
        return None

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError("not a way to change this engine")

    _applyCommand = addNodeToCluster = removeNodeFromCluster = _refuse
    setCodeVersion = _refuse
