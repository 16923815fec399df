"""One server's replica, turned one step at a time: the pure core that the driver shell carries.

A step takes the messages, proposals and reads that have gathered, turns the engine once, and says
what to do about it: messages that may leave at once (``early``), one batch for the disk, messages
that must wait for it (``late``). *Persist before send*: the caller saves the batch, reports it by
``persisted``, and only then sends the late messages and takes the next step. So the leader's own
entries are on disk before a tick counts them, and a follower never acknowledges what it could lose.
While the batch is being saved, ``apply`` may be called: what is committed needs no step.

Results of proposals and reads leave through ``take_results``, keyed by the caller's own tickets.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from raftstore.errors import (
    JournalFull,
    LeadershipLost,
    NoLeader,
    NotLeader,
    QueueFull,
    Refused,
    StoreError,
    Unknown,
)
from raftstore.raft.changes import Change
from raftstore.raft.config import RaftConfig
from raftstore.raft.engine import RaftEngine
from raftstore.raft.frames import AppendReply, Message, Probe, ProbeReply
from raftstore.raft.install import Installs, Task
from raftstore.raft.lease import Lease
from raftstore.raft.log import Batch, Journal
from raftstore.raft.outbox import Outgoing
from raftstore.raft.queues import Inbox, Intake
from raftstore.raft.reads import ReadIndex
from raftstore.raft.reconfiguration import Reconfiguration
from raftstore.raft.requests import ChangeRequest, Outcome, Proposal, succeeded
from raftstore.raft.transfer import AWAITING, CATCHING_UP, Transfer, Yielding

ADMITTED_AT_ONCE = 64
ADMITTED_BYTES_AT_ONCE = 64 * 1024
"""Proposals that enter the log between two looks at what room there is, and their bytes."""

Result = tuple[object, "Outcome | StoreError"]
"""A ticket and what became of it."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a step asks of its shell, in this order."""

    early: list[Outgoing]
    batch: Batch | None
    late: list[Outgoing]
    tasks: list[Task] = field(default_factory=list)
    """Reading and writing of snapshots, beside the steps; answered by ``installs.report``."""


class Replica:
    """Engine, journal and read index of one server. ``apply`` must not raise."""

    engine_class: type[RaftEngine] = RaftEngine
    installs_class: type[Installs] = Installs

    def __init__(
        self,
        config: RaftConfig,
        journal: Journal,
        apply: Callable[[int, float, bytes], object],
        rng: random.Random,
        lease_clock: Callable[[], float] | None = None,
    ) -> None:
        """``lease_clock`` counts the time that the machine was suspended."""
        self._config = config
        self._apply = apply
        self._inbox = Inbox(config.inbox_messages_max, config.inbox_bytes_max)
        self._intake = Intake(config.intake_max, config.intake_bytes_max)
        self._pending: dict[int, tuple[int, object]] = {}
        self._results: list[Result] = []
        self._led_term: int | None = None
        self._transfer: Transfer | None = None
        self.yielding = Yielding()
        self.transfers_begun = 0
        self.lease_reads = 0
        self.journal = journal
        self.reads = ReadIndex()
        self.engine = self.engine_class(config, journal, self._apply_entry, rng)
        self.engine.on_probe_reply = self.reads.answered
        self.engine.on_configured = self._configured
        self.installs = self.installs_class(config, journal, self.engine)
        self._changes = Reconfiguration(
            config, self.engine, journal, appended=self._pend, settled=self._settle
        )
        self._lease_clock = lease_clock or self.engine.now
        self._lease_config = 0
        self.lease = Lease(config.lease_share * config.election_min_s - config.lease_margin_s)
        self.engine.on_lease_reply = self.lease.answered

    # -- inputs

    def deliver(self, peer: str, message: Message, size: int = 0) -> bool:
        """Queue a message of so many bytes for the next step; False when the inbox is full."""
        return self._inbox.put(peer, message, size)

    def answer(self, peer: str, message: Message) -> list[Outgoing] | None:
        """Handle at once what needs no step, with what there is to say; None for anything else.

        Such are the probes of reads and the answers to them, on either side. They change neither
        log nor term nor vote and rest on nothing that is being written, so reads wait for no disk.
        That one of them overtakes what is in the inbox is no news to Raft: on the wire it might.

        The same holds for what followers of this term acknowledge. It is only noted: what comes of
        it (``wants_step``), commits above all, is for the next step, when our own disk has it too.
        """
        match message:
            case ProbeReply():
                self.engine.receive(peer, message)
                self._serve_reads()
                return []
            case AppendReply(ok=True) if (
                message.term == self.engine.term() and self._transfer is None
            ):
                self.engine.receive(peer, message)
                return []
            case Probe() if not self.journal.state_dirty:
                reply = self.engine.confirmation(peer, message)
                return [] if reply is None else [Outgoing(peer, reply)]
        return None

    def begin_reads(self) -> list[Outgoing]:
        """Begin a round for the reads that wait for one, without a step if that can be."""
        if self.journal.state_dirty or not self._begin_reads():
            return []
        self._serve_reads()  # who has no peers is done
        return self.engine.take_early()

    def propose(self, ticket: object, payload: bytes) -> Proposal:
        """Queue a proposal. Raises a ``Refused`` when it cannot enter the log."""
        if not self.engine.leads():
            raise self._not_leader()
        if len(payload) > self._config.payload_bytes_max:
            raise Refused(f"a command of {len(payload)} bytes is too large")
        if self.journal.full:
            raise JournalFull("the journal is full: writes stop, reads go on")
        if not self._intake.has_room(len(payload)):
            raise QueueFull("too many proposals are waiting")
        proposal = Proposal(ticket, payload)
        self._intake.put(proposal)
        return proposal

    def read(self, ticket: object) -> None:
        """Queue a linearizable read. Raises a ``Refused`` when we do not lead."""
        if not self.engine.leads():
            raise self._not_leader()
        if self.reads.joining >= self._config.reads_waiting_max:
            raise QueueFull("too many reads are waiting")
        self.reads.join(ticket)

    def change(self, ticket: object, change: Change) -> ChangeRequest:
        """Queue a change of the membership. Raises a ``Refused`` when it cannot be taken in."""
        if not self.engine.leads():
            raise self._not_leader()
        return self._changes.ask(ticket, change)

    def transfer(self, ticket: object, target: str | None) -> None:
        """Hand leadership to a voter (None: to the one that has most). Raises a ``Refused``."""
        engine = self.engine
        if not engine.leads():
            raise self._not_leader()
        if self._transfer is not None:
            raise Refused("a leadership transfer is under way")
        if target is None:
            target = engine.heir()
        if target is None:
            raise Refused("no other voter answers")
        if target not in engine.peer_ids():
            raise Refused(f"no other voter with id {target!r} in the configuration")
        self._begin_transfer(ticket, target)

    def _begin_transfer(self, ticket: object, target: str) -> None:
        engine = self.engine
        self.transfers_begun += 1
        self._transfer = Transfer(
            ticket=ticket,
            target=target,
            term=engine.term(),
            due=engine.now() + self._config.election_min_s,
            phase_max_s=self._config.election_min_s,
        )

    def step_down(self) -> list[Outgoing]:
        """Leader: stop leading, also while a batch is on its way to the disk.

        The log is not touched. Gives an order for the best follower to campaign at once, which
        rests on nothing that we have not saved.
        """
        engine = self.engine
        heir = engine.heir()
        if heir is not None and not self.journal.state_dirty:
            engine.order_election(heir)
        engine.step_down()
        early, late = engine.take_messages()
        self._notice_leadership()
        self._fail_waiting()
        return early + late

    def bootstrap(self, record: bytes) -> bool:
        """Write the bootstrap record unless the log has anything in it."""
        if self.journal.last_index > 0:
            return False
        self.engine.bootstrap(record)
        return True

    def claim_founding(self) -> bool:
        """Count as a founder though the first entry came from a leader."""
        self.engine.claim_founding()
        return True

    # -- the step

    def step(self, wall_now: float) -> Work:
        """Turn once. ``wall_now`` stamps new entries. Whatever this raises is fatal."""
        engine = self.engine
        self.installs.begin_step()
        for peer, message in self._inbox.take():
            engine.receive(peer, message)
        engine.tick()
        if self._config.lease:
            engine.apply_committed()  # a lease serves at once what is applied
        self._notice_leadership()
        self._yield_when_full()
        if self._transfer is not None:
            self._drive_transfer(self._transfer)
        if engine.leads():
            if self._transfer is None:
                self._admit(wall_now)
                self._changes.admit()
            if self._config.lease:
                self._keep_lease()
            self._begin_reads()
        elif self._intake or self.reads.joining or self._changes:
            self._fail_waiting()
        heartbeat = engine.leads() and self.reads.unconfirmed and engine.heartbeat_is_due()
        engine.send_appends()
        self.installs.send()
        if heartbeat:
            engine.probe(self.reads.round)  # the first probe may be lost with its link
        self._serve_reads()
        early, late = engine.take_messages()
        return Work(early, self.journal.take(), late, self.installs.take_tasks())

    def _has_room(self) -> bool:
        config = self._config
        return (
            len(self._pending) < config.inflight_entries_max
            and self.journal.unsaved_bytes < config.step_bytes_max
        )

    def only_proposals(self) -> int:
        """How many proposals wait for a step; 0 if other servers' messages do."""
        return 0 if self._inbox.messages else len(self._intake)

    def commit(self) -> bool:
        """Leader, before a step: commit what it would. Is there anything to apply?

        Applied and answered first, callers ask again in time for the batch of that step.
        """
        self.engine.commit()
        return self.engine.leads() and self.engine.apply_is_due()

    def apply(self) -> None:
        """Apply a slice of what is committed; after a step, or beside the write of its batch."""
        self.engine.apply_committed()
        self._serve_reads()

    def persisted(self, batch: Batch) -> None:
        """The batch of the last step is on disk."""
        self.journal.persisted(batch)

    def wants_step(self) -> bool:
        """Is there something that a step can do now?"""
        engine = self.engine
        if self._inbox.messages or self.installs.wants_step:
            return True
        if engine.apply_is_due() or engine.commit_is_due():
            return True
        if not engine.leads():
            return bool(self._intake or self.reads.joining or self._changes or self._pending)
        open_ = self._transfer is None
        return bool(
            engine.send_is_due()
            or (open_ and self._intake and self._has_room())
            or (open_ and self._changes and engine.may_change())
            or (self.reads.joining and engine.may_read())
        )

    # -- outputs

    def take_results(self) -> list[Result]:
        """Tickets that are done since the last call."""
        results, self._results = self._results, []
        return results

    def pending(self) -> int:
        """Proposals that wait to enter the log or to be applied."""
        return len(self._intake) + len(self._pending)

    def fail_all(self) -> list[object]:
        """The node stops: all tickets, of which nobody can say any more what becomes of them."""
        tickets = [ticket for _, ticket in self._pending.values()]
        tickets += [proposal.ticket for proposal in self._intake.drain()]
        tickets += [request.ticket for request in self._changes.drain()]
        tickets += self.reads.reset()
        if self._transfer is not None and self._transfer.ticket is not None:
            tickets.append(self._transfer.ticket)
        self._transfer = None
        self._pending.clear()
        return tickets

    def heartbeats(self) -> list[Outgoing]:
        """Appends that carry nothing new, for followers of a leader whose disk is slow."""
        self.engine.send_heartbeats()
        early, late = self.engine.take_messages()
        assert not late
        return early

    # -- inside a step

    def _apply_entry(self, index: int, term: int, stamp: float, payload: bytes) -> None:
        value = self._apply(index, stamp, payload)
        if self._pending:
            waiting = self._pending.pop(index, None)
            if waiting is not None:
                proposed_in, ticket = waiting
                # Another term at our index means that ours was overwritten: its fate is settled,
                # but a copy of it may have been proposed again by the caller; say "unknown".
                outcome = succeeded(index, value) if proposed_in == term else LeadershipLost()
                self._results.append((ticket, outcome))

    def _pend(self, index: int, ticket: object) -> None:
        self._pending[index] = (self.engine.term(), ticket)

    def _settle(self, ticket: object, result: Outcome | StoreError) -> None:
        self._results.append((ticket, result))

    def _configured(self, index: int, term: int) -> None:
        waiting = self._pending.pop(index, None)
        if waiting is not None:
            proposed_in, ticket = waiting
            done = Outcome(index) if proposed_in == term else LeadershipLost()
            self._results.append((ticket, done))

    def _notice_leadership(self) -> None:
        led = self.engine.term() if self.engine.leads() else None
        if led == self._led_term:
            return
        self._led_term = led
        self._changes.leadership_changed()
        self.lease.reset()
        for _, ticket in self._pending.values():
            self._results.append((ticket, LeadershipLost("leadership lost before the commit")))
        self._pending.clear()
        for ticket in self.reads.reset():
            self._results.append((ticket, self._not_leader()))

    def _not_leader(self) -> Refused:
        leader = self.engine.leader_id()
        return NoLeader("no cluster leader") if leader is None else NotLeader(leader)

    def _fail_waiting(self) -> None:
        error = self._not_leader()
        for proposal in self._intake.drain():
            if not proposal.withdrawn:
                self._results.append((proposal.ticket, error))
        for request in self._changes.drain():
            if not request.withdrawn:
                self._results.append((request.ticket, error))
        for ticket in self.reads.reset():
            self._results.append((ticket, error))

    def _admit(self, wall_now: float) -> None:
        """Move proposals into the log, within the bounds of one step."""
        term, pending = self.engine.term(), self._pending
        while self._has_room():
            room = min(ADMITTED_AT_ONCE, self._config.inflight_entries_max - len(pending))
            admitted = self._intake.take(room, ADMITTED_BYTES_AT_ONCE)
            if not admitted:
                break
            if self.journal.full:
                error = JournalFull("the journal is full: writes stop, reads go on")
                self._results += [(proposal.ticket, error) for proposal in admitted]
                continue
            payloads = [proposal.payload for proposal in admitted]
            index = self.engine.append_payloads(payloads, wall_now)
            for proposal in admitted:
                proposal.index = index
                pending[index] = (term, proposal.ticket)
                index += 1

    def _yield_when_full(self) -> None:
        """A leader whose journal is full hands over, for another may have room."""
        engine, journal = self.engine, self.journal
        if not self._config.yield_when_full or not self.yielding.due(journal):
            return
        heir = engine.heir() if engine.leads() and self._transfer is None else None
        if heir is not None:
            self.yielding.done()
            self._begin_transfer(None, heir)

    def _drive_transfer(self, transfer: Transfer) -> None:
        engine, at = self.engine, self.engine.now()
        leader = engine.leader_id()
        if not engine.leads() or engine.term() != transfer.term:
            transfer.stepped_down(at)
        result: Outcome | StoreError | None = None
        if transfer.phase == AWAITING and engine.leads():
            result = Unknown("the transfer failed: this server was elected again")
        elif transfer.phase == AWAITING and leader is not None:
            result = Outcome(0, leader)
        elif why := transfer.failure(at):
            made = Refused if transfer.phase == CATCHING_UP else Unknown
            result = made(f"the transfer failed: {why}")
        elif transfer.phase == CATCHING_UP:
            match = engine.match_index(transfer.target)
            if transfer.caught_up(match, self.journal.last_index, at):
                self.lease.revoke()
                engine.order_election(transfer.target)
        if result is not None:
            self._transfer = None
            if transfer.ticket is not None:
                self._results.append((transfer.ticket, result))

    @property
    def handing_over(self) -> str:
        """To whom, and how far that is; empty if we are not."""
        return "" if self._transfer is None else f"{self._transfer.target}, {self._transfer.phase}"

    def lease_left_s(self) -> float:
        """Seconds for which reads need no quorum; at most 0 without a lease."""
        if not self._config.lease or not self.engine.leads():
            return 0.0
        return self.lease.left_s(self._lease_clock(), self.engine.peer_ids())

    def _keep_lease(self) -> None:
        """Renew the promises at each heartbeat, and serve reads while they hold."""
        engine = self.engine
        if self._lease_config != engine.config_index:
            self._lease_config = engine.config_index
            self.lease.forget()
        if engine.heartbeat_is_due():
            engine.lease_probe(self.lease.begin(self._lease_clock()))
        index = engine.commit_index()
        if (
            self.reads.joining
            and engine.may_read()
            and engine.applied_index() >= index
            and self.lease_left_s() > 0
        ):
            for ticket in self.reads.take_joining():
                self._results.append((ticket, Outcome(index)))
                self.lease_reads += 1

    def _begin_reads(self) -> bool:
        if not self.reads.joining or not self.engine.may_read():
            return False
        number = self.reads.begin(self.engine.commit_index())
        if number is not None:
            self.engine.probe(number)
        return True

    def _serve_reads(self) -> None:
        if not self.engine.leads():
            return
        served = self.reads.served(self.engine.peer_ids(), self.engine.applied_index())
        for ticket, index in served:
            self._results.append((ticket, succeeded(index, None)))
