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
step wrote (acknowledgements, votes, vote requests, probe replies) and must wait for it. While term
or vote are unsaved, everything but pre-votes is late.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from pysyncobj import SyncObj, SyncObjConf

from raftstore.errors import CorruptState
from raftstore.raft.config import RaftConfig
from raftstore.raft.frames import (
    Append,
    AppendReply,
    Message,
    PreVoteReply,
    PreVoteRequest,
    Probe,
    ProbeReply,
    VoteReply,
    VoteRequest,
)
from raftstore.raft.log import CONFIG, PAYLOAD, PAYLOAD_HEAD, Entry, Journal, payload_command
from raftstore.raft.members import Config, decode_config
from raftstore.raft.progress import Progress
from raftstore.raft.stock import NoPoller, PeerNode, StockLog, StockOutlet, now

FOLLOWER, CANDIDATE, LEADER = 0, 1, 2
ROLES = ("follower", "candidate", "leader")
LONG_AGO = float("-inf")
HURRIED_ROUNDS_MAX = 10


class SafetyViolation(CorruptState):
    """A peer's log contradicts what was committed here. The process must stop at once."""


class Outgoing(NamedTuple):
    """A message and the node id it is for."""

    peer: str
    message: Message


@dataclass(slots=True)
class EngineStats:
    """Counts since start."""

    elections_started: int = 0
    elections_won: int = 0
    pre_vote_rounds: int = 0
    step_downs: int = 0
    leader_changes: int = 0
    strangers_dropped: int = 0
    stale_replies_dropped: int = 0
    conflict_entries_cut: int = 0
    appends_refused_full: int = 0


class RaftEngine(SyncObj):  # type: ignore[misc]
    """One server's Raft. Raises SafetyViolation, or whatever ``apply`` raises: both are fatal."""

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
        self._hurry = 0
        self._early: list[Outgoing] = []
        self._late: list[Outgoing] = []
        self._connected_ids: set[str] = set()
        self._progress: dict[str, Progress] = {}
        self._seq = 0
        self._votes: set[str] = set()
        self._pre_votes: set[str] = set()
        self._pre_vote_round = rng.getrandbits(32)
        self._cleared_term: int | None = None
        self._heard_at = LONG_AGO
        self._stamp = 0.0
        self._heartbeat_due = False
        self._voter = False
        self._peers: tuple[str, ...] = ()
        self._members: dict[str, PeerNode] = {}
        self.config: Config | None = None
        self.stats = EngineStats()
        self.on_probe_reply: Callable[[str, int], None] = lambda peer, number: None
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

    def _restore(self) -> None:
        """Take over term, vote, commit and configuration from the journal (hazards B1, B7, D2)."""
        journal, config = self._journal, self._config
        self._SyncObj__raftLog = StockLog(journal)
        self._SyncObj__raftCurrentTerm = max(journal.term, journal.last_term)
        self._SyncObj__votedForNodeId = journal.vote if journal.term >= journal.last_term else None
        self._SyncObj__raftCommitIndex = max(journal.commit_hint, journal.first_index)
        self._SyncObj__raftLastApplied = journal.first_index
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
        return self.applied_index() < min(self.commit_index(), self._journal.saved_index)

    def commit_is_due(self) -> bool:
        """A leader without peers commits what it has saved at its next tick."""
        return not self._peers and self.leads() and self.commit_index() < self._journal.last_index

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

    # -- inputs

    def tick(self) -> None:
        """Elections, commit, apply, check-quorum."""
        self._onTick(0.0)

    def append_payload(self, payload: bytes, stamp: float) -> int:
        """Put a proposal into the leader's log and return its index."""
        assert self.leads()
        index = self._journal.last_index + 1
        self._journal.append((payload_command(stamp, payload), index, self.term()))
        return index

    def bootstrap(self, record: bytes) -> None:
        """Write the first entry, alike on all bootstrap servers, into an empty log."""
        assert self._journal.last_index == self._journal.first_index == 0
        self._journal.append((bytes((CONFIG,)) + record, 1, 0))
        self._adopt_config()
        self._deadline_in(*self._config.first_election_s)
        if not self._peers:
            self._SyncObj__raftElectionDeadline = 0.0

    def connected(self, peer: str) -> None:
        """A link to the peer is up; what was on its way over the old one is lost."""
        self._connected_ids.add(peer)
        node = self._members.get(peer)
        if node is not None:
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
        if self.leads() or self.leader_id() != peer:
            return
        self._follow(None)
        self._heard_at = LONG_AGO
        self._hurry = HURRIED_ROUNDS_MAX
        self._deadline_in(*self._config.lost_leader_s)

    def receive(self, peer: str, message: Message) -> None:
        """Handle one message of an authenticated peer."""
        self._SyncObj__onMessageReceived(peer, message)

    # -- outputs

    def take_messages(self) -> tuple[list[Outgoing], list[Outgoing]]:
        """(early, late) messages since the last call."""
        out = self._early, self._late
        self._early, self._late = [], []
        return out

    def probe(self, number: int) -> None:
        """Ask the voters whether we still lead."""
        for peer in self._peers:
            self._send(peer, Probe(self.term(), number))

    def _send(self, peer: str, message: Message, *, late: bool = False) -> None:
        if late or self._journal.state_dirty:
            self._late.append(Outgoing(peer, message))
        else:
            self._early.append(Outgoing(peer, message))

    # -- configuration

    def _adopt_config(self) -> None:
        """Put the journal's newest configuration in force (hazards D2, D3)."""
        stored = self._journal.config
        self.config = decode_config(stored[1]) if stored is not None else None
        me = self._config.node_id
        members = self.config.members if self.config is not None else {}
        voters = self.config.voters if self.config is not None else frozenset()
        self._voter = me in voters
        self._members = {n: self._members.get(n) or PeerNode(n) for n in members if n != me}
        self._peers = tuple(sorted(n for n in self._members if n in voters))
        nodes = {self._members[peer] for peer in self._peers}
        match = self._SyncObj__raftMatchIndex
        heard = self._SyncObj__lastResponseTime
        for gone in [node for node in match if node not in nodes]:
            match.pop(gone, None)
            heard.pop(gone, None)
            self._progress.pop(gone.id, None)
        for node in sorted(nodes, key=lambda n: n.id):
            match.setdefault(node, 0)
            heard.setdefault(node, self.now())
            self._progress.setdefault(
                node.id, Progress(self._journal.last_index + 1, self._seq + 1)
            )
            if node.id in self._connected_ids:
                self._SyncObj__onNodeConnected(node)
        self._SyncObj__otherNodes = nodes

    # -- overridden: elections

    def _deadline_in(self, least_s: float, most_s: float) -> None:
        self._SyncObj__raftElectionDeadline = self.now() + self._rng.uniform(least_s, most_s)

    def _SyncObj__generateRaftTimeout(self) -> float:
        config = self._config
        if self._campaigning:  # a split vote is settled sooner: the next try asks pre-votes first
            self._campaigning = False
            return self._rng.uniform(0.5 * config.election_min_s, config.election_min_s)
        return self._rng.uniform(config.election_min_s, config.election_max_s)

    def _SyncObj__connectedToAnyone(self) -> bool:
        """Asked by the tick exactly when the election timer has expired: the pre-vote gate (A7)."""
        if not self._voter or self.config is None:
            self._deadline_in(self._config.election_min_s, self._config.election_max_s)
            return False
        if not self._peers or self._cleared_term == self.term():
            self._cleared_term = None
            self._campaigning = True
            self._votes = {self._config.node_id}
            self.stats.elections_started += 1
            return True
        self._start_pre_vote()
        return False

    def _start_pre_vote(self) -> None:
        config = self._config
        self._pre_vote_round += 1
        self._pre_votes = {config.node_id}
        self._cleared_term = None
        self.stats.pre_vote_rounds += 1
        if self._hurry:
            self._hurry -= 1
            self._deadline_in(*config.lost_leader_s)
        else:
            self._deadline_in(0.25 * config.election_min_s, 0.5 * config.election_min_s)
        request = PreVoteRequest(
            term=self.term() + 1,
            round=self._pre_vote_round,
            last_index=self._journal.last_index,
            last_term=self._journal.last_term,
        )
        for peer in self._peers:
            self._early.append(Outgoing(peer, request))  # rests on nothing that needs saving

    def request_vote(self, peer: str, message: dict[str, Any]) -> None:
        """PySyncObj's tick asks for a vote; our term and own vote must be on disk first."""
        request = VoteRequest(
            term=message["term"],
            last_index=message["last_log_index"],
            last_term=message["last_log_term"],
            transfer=False,
        )
        self._send(peer, request, late=True)

    def _loyal(self) -> bool:
        """Has a leader been heard (or might one have been, before our start) lately? (A7)"""
        at, least = self.now(), self._config.election_min_s
        return self.leads() or at - self._heard_at < least or at - self._started_at < least

    def _log_is_current(self, last_index: int, last_term: int) -> bool:
        mine = (self._journal.last_term, self._journal.last_index)
        return (last_term, last_index) >= mine

    def _follow(self, leader: PeerNode | None) -> None:
        self._SyncObj__raftLeader = leader

    def _new_term(self, term: int) -> None:
        self._SyncObj__setCurrentTerm(term, None)
        self._SyncObj__setState(FOLLOWER)
        self._follow(None)
        self._cleared_term = None

    def _state_changed(self, old: int, new: int) -> None:
        if old == LEADER:
            self.stats.step_downs += 1
        if new == LEADER:
            self.stats.elections_won += 1

    # -- overridden: messages

    def _SyncObj__onMessageReceived(self, peer: str, message: Message) -> None:
        if self.config is None:
            # Not a member of anything yet: take the log from whoever leads, but have no say.
            if isinstance(message, Append):
                self._on_append(peer, message)
            return
        if peer not in self._members:
            self.stats.strangers_dropped += 1
            return
        match message:
            case Append():
                self._on_append(peer, message)
            case AppendReply():
                self._on_append_reply(peer, message)
            case Probe():
                if message.term == self.term() and self.leader_id() == peer:
                    self._send(peer, ProbeReply(message.term, message.round), late=True)
            case ProbeReply():
                if message.term == self.term() and self.leads() and peer in self._peers:
                    self.on_probe_reply(peer, message.round)
            case VoteRequest():
                self._on_vote_request(peer, message)
            case VoteReply():
                self._on_vote_reply(peer, message)
            case PreVoteRequest():
                granted = (
                    message.term > self.term()
                    and not self._loyal()
                    and self._voter
                    and self._log_is_current(message.last_index, message.last_term)
                )
                self._send(peer, PreVoteReply(self.term(), message.round, granted))
            case PreVoteReply():
                self._on_pre_vote_reply(peer, message)

    def _on_append(self, peer: str, message: Append) -> None:
        """AppendEntries; cuts only at a real conflict and answers what it has verified (A1)."""
        journal = self._journal
        if message.term < self.term():
            self._reply(peer, message, False, journal.last_index + 1)
            return
        if message.term > self.term():
            self._new_term(message.term)
        if self.leads():
            raise SafetyViolation(f"{peer} also leads term {message.term}; stop and report this")
        if self.leader_id() != peer:
            self.stats.leader_changes += 1
        self._SyncObj__setState(FOLLOWER)
        self._follow(self._members.get(peer) or PeerNode(peer))
        self._heard_at = self.now()
        self._SyncObj__raftElectionDeadline = self._heard_at + self._SyncObj__generateRaftTimeout()
        self._cleared_term = None
        self._hurry = 0
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
            self._reply(peer, message, False, self._start_of_term(message.prev_index))
            return
        self._take_entries(message)
        match = message.prev_index + len(message.entries)
        self._SyncObj__leaderCommitIndex = message.commit
        commit = min(message.commit, match)
        if commit > self.commit_index():
            self._SyncObj__raftCommitIndex = commit
            journal.commit_hint = commit
        self._reply(peer, message, True, match)

    def _reply(self, peer: str, message: Append, ok: bool, index: int) -> None:
        reply = AppendReply(term=self.term(), seq=message.seq, ok=ok, index=index)
        self._send(peer, reply, late=ok)

    def _start_of_term(self, index: int) -> int:
        """First index of the term that ``index`` belongs to, to skip a whole term at once."""
        journal = self._journal
        term, least = journal.term_at(index), max(self.commit_index(), journal.first_index) + 1
        if index < least:
            raise SafetyViolation(f"the leader's entry {index} differs from a committed one")
        while index > least and journal.term_at(index - 1) == term:
            index -= 1
        return index

    def _take_entries(self, message: Append) -> None:
        first = self._first_new(message)
        if first is None:
            return
        journal = self._journal
        index = message.entries[first][1]
        reconfigured = False
        if index <= journal.last_index:
            if index <= self.commit_index():
                raise SafetyViolation(f"the leader's entry {index} differs from a committed one")
            self.stats.conflict_entries_cut += journal.last_index + 1 - index
            reconfigured = journal.config is not None and journal.config[0] >= index
            journal.cut_from(index)
        for entry in message.entries[first:]:
            if entry[0][0] == CONFIG:
                decode_config(entry[0][1:])
                reconfigured = True
            journal.append(entry)
        if reconfigured:
            self._adopt_config()

    def _first_new(self, message: Append) -> int | None:
        """Position of the first entry that we lack or hold with another term."""
        journal = self._journal
        for position, (_, index, term) in enumerate(message.entries):
            if index > journal.last_index or journal.term_at(index) != term:
                return position
        return None

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
        if not self._voter:
            return
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
        ):
            return
        if self._won_with(peer):
            for other in self._progress:
                self._restart_progress(other)
            self._SyncObj__onBecomeLeader()

    def _won_with(self, peer: str) -> bool:
        """A4: collect votes by who gave them, so that one answer never counts twice."""
        self._votes.add(peer)
        return len(self._votes) > (len(self._peers) + 1) / 2

    def _on_pre_vote_reply(self, peer: str, reply: PreVoteReply) -> None:
        if reply.term > self.term():
            self._new_term(reply.term)
            return
        if (
            self.leads()
            or not reply.granted
            or reply.round != self._pre_vote_round
            or not self._pre_votes
            or peer not in self._peers
        ):
            return
        self._pre_votes.add(peer)
        if len(self._pre_votes) > (len(self._peers) + 1) / 2:
            self._pre_votes = set()
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
        for peer in self._peers:
            if peer not in self._connected_ids:
                continue
            progress = self._progress[peer]
            if progress.overdue(at, config.election_min_s):
                self._restart_progress(peer)
            sent = False
            while progress.next_index <= journal.last_index and progress.may_send(
                config.window_appends_max, config.window_bytes_max
            ):
                self._send_batch(peer, progress, at)
                sent = True
            if not sent and (heartbeat or progress.sent_commit < self.commit_index()):
                self._send_empty(peer, progress)

    def send_heartbeats(self) -> None:
        """While the disk is slow: keep followers calm with appends that carry nothing new."""
        for peer in self._peers:
            if peer in self._connected_ids:
                self._send_empty(peer, self._progress[peer])

    def _send_batch(self, peer: str, progress: Progress, at: float) -> None:
        config, first = self._config, progress.next_index
        entries = self._journal.entries(
            first, first + config.append_entries_max - 1, bytes_max=config.append_bytes_max
        )
        self._seq += 1
        self._send(peer, self._append(first - 1, tuple(entries)))
        progress.sent(self._seq, sum(len(e[0]) for e in entries), first + len(entries), at)
        progress.sent_commit = self.commit_index()

    def _send_empty(self, peer: str, progress: Progress) -> None:
        # A probing peer is asked about the place we mean to send from; others about what they have.
        known = max(self.match_index(peer), self._journal.first_index)
        prev = progress.next_index - 1 if progress.probing and not progress.inflight else known
        self._seq += 1
        self._send(peer, self._append(prev, ()))
        progress.sent_commit = self.commit_index()

    def _append(self, prev_index: int, entries: tuple[Entry, ...]) -> Append:
        prev_term = self._journal.term_at(prev_index)
        assert prev_term is not None, f"no entry {prev_index}"
        return Append(
            term=self.term(),
            seq=self._seq,
            prev_index=prev_index,
            prev_term=prev_term,
            commit=self.commit_index(),
            entries=entries,
        )

    def _restart_progress(self, peer: str) -> None:
        progress = self._progress.get(peer)
        if progress is not None:
            match = self.match_index(peer) if self.leads() else 0
            start = match + 1 if match else self._journal.last_index + 1
            progress.restart(start, self._seq + 1)

    # -- overridden: applying (hazards C1-C3, F8)

    def _SyncObj__applyLogEntries(self) -> bool:
        """Apply a bounded slice of what is committed and on our own disk."""
        journal, config = self._journal, self._config
        first = self.applied_index() + 1
        last = min(self.commit_index(), journal.saved_index, first + config.apply_entries_max - 1)
        if first > last:
            return False
        stop_at = self.now() + config.apply_budget_s
        for command, index, term in journal.entries(first, last, bytes_max=config.apply_bytes_max):
            if command[0] == PAYLOAD:
                self._stamp = max(self._stamp, PAYLOAD_HEAD.unpack_from(command)[1])
                self._apply(index, term, self._stamp, command[PAYLOAD_HEAD.size :])
            self._SyncObj__raftLastApplied = index
            if index % 32 == 0 and self.now() > stop_at:
                break
        journal.trim_memory(self.applied_index())
        return False

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
