"""What becomes of a claim: who is believed, suspected, declared dead, contradicted, and told of it.

Gossip wire contract, sections 3.2 to 3.5. gossip.members says what a claim would change; here it is
spread, timed and explained, our own name is defended, and accusations of those in quarantine are
checked instead of believed (gossip.accusers). Effects and notices pile up in ``out``.
"""

from __future__ import annotations

from gossip import suspicion
from gossip.accusers import Accusers
from gossip.admission import NAME_BYTES_RECEIVED_MAX, Refusals
from gossip.awareness import Awareness
from gossip.broadcasts import BroadcastQueue
from gossip.config import GossipConfig
from gossip.effects import (
    Address,
    Effect,
    NameConflict,
    NodeChanged,
    NodeDown,
    NodeUp,
    Noted,
    Notice,
    Quarantined,
    Refused,
)
from gossip.held_claims import HeldClaims
from gossip.members import ENDED, MemberTable, Record, Verdict
from gossip.reasons import Why
from gossip.stalls import Stalls
from gossip.stats import GossipStats
from gossip.suspicion import Suspicion, Suspicions
from gossip.wire import messages
from gossip.wire.messages import Alive, Dead, State, Suspect


class Claims:
    """One member's beliefs about the ring, and how they change."""

    def __init__(
        self,
        config: GossipConfig,
        *,
        table: MemberTable,
        awareness: Awareness,
        stalls: Stalls,
        queue: BroadcastQueue,
        stats: GossipStats,
    ) -> None:
        self._config = config
        self._table = table
        self._awareness = awareness
        self._stalls = stalls
        self._queue = queue
        self._stats = stats
        self.suspicions = Suspicions()
        self.refusals = Refusals(config.refusals_max)
        self.held = HeldClaims(config.refusals_max)
        self.accusers = Accusers(config)
        self.out: list[Effect | Notice] = []

    # Alive

    def alive(self, claim: Alive, now: float) -> None:
        """A member is said to live."""
        before = self._table.get(claim.node)
        verdict = self._table.claim_alive(claim, now)
        if verdict in (Verdict.JOINED, Verdict.UPDATED, Verdict.REFRESHED):
            self._believe_alive(claim, verdict, before, now)
        elif verdict is Verdict.REFUTE:
            self.refute(claim.incarnation)
        elif verdict is Verdict.CONFLICT:
            self._stats.conflicts += 1
            own = claim.node == self._table.local_name
            where = Address(claim.address, claim.port)
            self.out.append(NameConflict(claim.node, where, own))
            if before is not None and not own:
                self._refuse(claim.node, self._table.name_is_held(before, claim, now), now)
                self._hold(claim, now)
        elif verdict is Verdict.UNFIT:
            self._stats.drop("unfit_member")
            self._refuse(claim.node, self._table.unfit(claim), now)
            self._hold(claim, now)
        elif verdict is Verdict.INVALID:
            self._stats.drop("invalid_claim")
            if claim.node:
                self._refuse(claim.node[:NAME_BYTES_RECEIVED_MAX], "an invalid claim", now)

    def _believe_alive(
        self, claim: Alive, verdict: Verdict, before: Record | None, now: float
    ) -> None:
        running = self.suspicions.get(claim.node)
        self.suspicions.forget(claim.node)
        self.refusals.forget(claim.node)
        self.held.forget(claim.node)
        self.spread(claim, claim.node)
        if running is not None:
            self._explain(claim.node, running)
            if len(running.accusers) == 1:
                self._was_wrong(running.accusers[0], claim.node, now)
        if verdict is Verdict.JOINED:
            self._note(claim.node, None)
            self.out.append(NodeUp(claim.node))
        elif verdict is Verdict.UPDATED:
            self.out.append(NodeChanged(claim.node))

    def _hold(self, claim: Alive, now: float) -> None:
        """Keep a claim that was refused for now only."""
        wait = self._table.obstacle(claim)
        if wait is not None:
            self.held.keep(claim, wait, now)

    def judge_again(self, now: float) -> None:
        """Claims whose name may be free by now."""
        for claim in self.held.take_due(now):
            self.alive(claim, now)

    def _refuse(self, name: str, reason: str, now: float) -> None:
        if self.refusals.add(name, reason, now):
            self.out.append(Refused(name, reason))

    # Suspect and dead

    def suspect(self, claim: Suspect, now: float, cause: str) -> None:
        """A member is said not to answer."""
        if self._doubted(claim, now):
            return
        verdict = self._table.claim_suspect(claim.node, claim.incarnation, now, cause)
        if verdict is Verdict.SUSPECTED:
            self._stats.suspicions += 1
            begun = suspicion.begin(self._config, claim.accuser, len(self._table), now)
            self.suspicions.start(claim.node, begun)
            self.spread(claim, claim.node)
            self._note(claim.node, begun)
        elif verdict is Verdict.CONFIRMED:
            not_before = now + self.grace_s
            if self.suspicions.confirm(claim.node, claim.accuser, now=now, not_before=not_before):
                self._stats.suspicions_confirmed += 1
                self.spread(claim, claim.node)
        elif verdict is Verdict.REFUTE:
            self.refute(claim.incarnation, claim.accuser, now)

    def dead(
        self,
        claim: Dead,
        now: float,
        cause: str,
        *,
        token: str | None = None,
        ended: Suspicion | None = None,
    ) -> None:
        """A member is said to be dead, or to have left when it says so itself; ``ended`` is the
        suspicion of ours that ran out."""
        if claim.accuser != claim.node and self._doubted(claim, now):
            return
        name = claim.node
        verdict = self._table.claim_dead(name, claim.incarnation, claim.accuser, now, cause)
        if verdict is Verdict.DIED:
            running = ended or self.suspicions.get(name)
            self.suspicions.forget(name)
            self.spread(claim, name, token)
            if running is not None and claim.accuser != name:
                self._were_right(running, claim, now)
            self._note(name, running)
            self.out.append(NodeDown(name))
            self.held.ended(name, now)
        elif verdict is Verdict.REFUTE:
            self.refute(claim.incarnation, claim.accuser, now)

    def ran_out(self, name: str, running: Suspicion, now: float) -> None:
        """A suspicion ended without a refutation: we declare the suspect dead."""
        record = self._table.get(name)
        if record is None:
            return
        self._stats.deaths_declared += 1
        cause = (
            f"suspicion ran out with {running.confirmations} of "
            f"{running.confirmations_wanted} confirmations"
        )
        claim = Dead(record.incarnation, name, self._table.local_name)
        self.dead(claim, now, cause, ended=running)

    def refute(self, accused_incarnation: int, accuser: str = "", now: float = 0.0) -> None:
        """Contradict: the same life under a higher incarnation. It costs us some trust in us,
        unless the accuser is known to accuse anybody."""
        self._stats.refutations += 1
        self._table.next_incarnation(accused_incarnation)
        if not accuser or not self.accusers.quarantined(accuser, now):
            healthy = self._awareness.score == 0
            self._awareness.add(1)
            if accuser and healthy:
                self._was_wrong(accuser, self._table.local_name, now)
        self.spread_local()

    @property
    def grace_s(self) -> float:
        """How long a suspect has after news that come late."""
        config = self._config
        return config.suspicion_grace_mult * self._awareness.scale(config.probe_interval_s)

    # Whom to believe

    def _doubted(self, claim: Suspect | Dead, now: float) -> bool:
        """Whether an accusation is not believed; then its subject is probed next."""
        local = self._table.local_name
        if claim.node == local or not self.accusers.quarantined(claim.accuser, now):
            return False
        record = self._table.get(claim.node)
        if record is None or record.state in ENDED or claim.incarnation < record.incarnation:
            return True
        self._stats.accusations_doubted += 1
        self.accusers.doubt(claim.accuser, claim.node, claim.incarnation, now)
        self._table.probe_next(claim.node)
        return True

    def _was_wrong(self, accuser: str, subject: str, now: float) -> None:
        """The only accuser of a subject that contradicted."""
        if accuser == self._table.local_name:
            return  # our own mistakes are the health score's
        size = len(self._table)
        if self.accusers.refuted(accuser, subject, ring_size=size, now=now):
            self._quarantine(accuser)

    def _were_right(self, running: Suspicion, claim: Dead, now: float) -> None:
        """Accusers that others agreed with; somebody's own word proves nothing."""
        voices = {*running.accusers, claim.accuser}
        for accuser in running.accusers:
            if accuser != self._table.local_name and len(voices - {accuser}):
                self.accusers.proved(accuser, claim.node, now)

    def checked(self, subject: str, *, alive: bool, now: float) -> None:
        """A probe of ours ended: the verdict on who accused its target in quarantine."""
        size = len(self._table)
        for accuser in self.accusers.checked(subject, alive=alive, ring_size=size, now=now):
            self._quarantine(accuser)

    def _quarantine(self, accuser: str) -> None:
        account = self.accusers.get(accuser)
        assert account is not None
        self._stats.quarantines += 1
        self.out.append(Quarantined(accuser, tuple(e.subject for e in account.grounds)))

    # Telling

    def spread(self, claim: Alive | Suspect | Dead, name: str, token: str | None = None) -> None:
        """Gossip a claim; it replaces an older one about the same member."""
        self._queue.add(messages.encode(claim), subject=name, token=token)

    def spread_local(self) -> None:
        """Gossip what we say of ourselves."""
        local = self._table.local
        claim = Alive(
            incarnation=local.incarnation,
            node=local.name,
            address=local.address,
            port=local.port,
            meta=local.meta,
            versions=local.versions,
        )
        self.spread(claim, local.name)

    def _explain(self, name: str, running: Suspicion | None) -> None:
        """Keep with a change of state what it came from."""
        figures = running.figures if running is not None else None
        why = Why(health_score=self._awareness.score, stall=self._stalls.last, suspicion=figures)
        self._table.annotate(name, why)

    def _note(self, name: str, running: Suspicion | None) -> None:
        self._explain(name, running)
        record = self._table.records[name]
        last = record.transitions[-1]
        self.out.append(Noted(name, record.state, record.incarnation, last.cause))

    def check(self) -> None:
        """Assert what must hold between the parts."""
        suspects = {r.name for r in self._table if r.state is State.SUSPECT}
        assert suspects == set(self.suspicions)
        self.accusers.check()
