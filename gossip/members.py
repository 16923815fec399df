"""MemberTable: who wins between two claims about a member. The only place that changes a member.

Gossip wire contract, sections 3.1 to 3.3: state and incarnation decide. The table judges a claim
and says what became of it; spreading it, timing suspicions and telling others are gossip.swim's.
Serf's own view, with its longer memory, is gossip.roster.
"""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, replace

from gossip import admission
from gossip.admission import VERSIONS, VERSIONS_BYTES
from gossip.config import GossipConfig
from gossip.held_claims import Wait
from gossip.reasons import Why
from gossip.wire.messages import Alive, NodeState, State

INCARNATION_MAX = (1 << 32) - 1
URGENT_MAX = 64
"""Members that wait to be probed out of turn."""
ENDED = (State.DEAD, State.LEFT)


class Verdict(enum.Enum):
    """What became of a claim."""

    IGNORED = enum.auto()
    INVALID = enum.auto()
    """No member may say this; counted as a bad message."""
    CONFLICT = enum.auto()
    """Same name at another address."""
    UNFIT = enum.auto()
    """We do not understand each other, or its identity is another live member's."""
    REFUTE = enum.auto()
    """It is about us and wrong."""
    JOINED = enum.auto()
    UPDATED = enum.auto()
    """Alive as before, with other tags, versions or address."""
    REFRESHED = enum.auto()
    """Alive, nothing visible changed but the incarnation or the state suspect."""
    SUSPECTED = enum.auto()
    CONFIRMED = enum.auto()
    """A suspect is suspected again; whether it counts is the suspicion's business."""
    DIED = enum.auto()


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a member's state, kept for `explain`."""

    at: float
    state: State
    incarnation: int
    cause: str
    why: Why | None = None
    """What stood behind it; None for what the record began with."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Record(NodeState):
    """What we hold of one member: what an exchange says of it, and since when and why.

    A value: a change makes a new one, so a record can be handed out, sent and shared as it is.
    """

    meta: bytes
    versions: bytes
    changed_at: float
    transitions: tuple[Transition, ...] = ()
    """The last few, the oldest first."""

    @property
    def protocol_max(self) -> int:
        """Highest memberlist protocol it understands: 3 TCP pings, 4 nacks, 5 CRC."""
        return self.versions[1] if len(self.versions) == VERSIONS_BYTES else 0


class MemberTable:
    """All known members by name, the local one included, and the round-robin order of probing."""

    __slots__ = (
        "_config",
        "_cursor",
        "_ended",
        "_identities",
        "_order",
        "_rng",
        "_urgent",
        "_urgent_last",
        "leaving",
        "local_name",
        "records",
    )

    def __init__(self, config: GossipConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self.local_name = config.name
        self.leaving = False
        self.records: MutableMapping[str, Record] = {}
        self._order: list[str] = []
        self._cursor = 0
        self._ended: dict[str, None] = {}  # the dead and the left, in the order of their ends
        self._urgent: dict[str, None] = {}
        self._urgent_last = False
        self._identities: dict[str, str] = {}  # who bears which identity, the last one that said so

    def adopt(self, records: MutableMapping[str, Record]) -> None:
        """Begin with members that are known already, ourselves among them, all of them alive.

        The mapping is kept and changed in place; it may share its values with other tables. Their
        identities are not looked at before they speak.
        """
        self.records = records
        self._identities = {}
        self._order = list(records)
        self._cursor = 0
        self._ended = {}

    def __len__(self) -> int:
        """The ring-size estimate n: every record, also of the dead that are not purged yet."""
        return len(self.records)

    @property
    def local(self) -> Record:
        return self.records[self.local_name]

    def get(self, name: str) -> Record | None:
        return self.records.get(name)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records.values())

    def set_local(self, *, address: bytes, port: int, meta: bytes, now: float) -> Record:
        """The local member comes to life, or changes its tags: takes the next incarnation."""
        record = self.records.get(self.local_name)
        if record is None:
            record = self._create(self.local_name, address, port, now)
        before = record
        record = replace(record, address=address, port=port, meta=meta, versions=VERSIONS)
        self._index(before, record)
        self.records[self.local_name] = record
        self.next_incarnation(0)
        if record.state is not State.ALIVE:
            self._move(self.local, State.ALIVE, now, "started")
        return self.local

    def next_incarnation(self, accused: int) -> int:
        """An incarnation of ours above both our own and the accused one."""
        record = self.local
        incarnation = min(max(record.incarnation, accused) + 1, INCARNATION_MAX)
        self.records[self.local_name] = replace(record, incarnation=incarnation)
        return incarnation

    def claim_alive(self, claim: Alive, now: float) -> Verdict:
        """Judge "this member is alive with these particulars"."""
        if not admission.valid(claim):
            return Verdict.INVALID
        port = claim.port or self._config.bind_port
        record = self.records.get(claim.node)
        if claim.node == self.local_name:
            return self._claim_alive_local(claim, port)
        if record is None and (
            claim.incarnation < 1 or len(self.records) >= self._config.members_max
        ):
            return Verdict.IGNORED
        if record is not None:
            moved = (record.address, record.port) != (claim.address, port)
            if moved and self.name_is_held(record, claim, now):
                return Verdict.CONFLICT
            if not moved and claim.incarnation <= record.incarnation:
                return Verdict.IGNORED
        if self.unfit(claim):
            return Verdict.UNFIT
        if record is None:
            record = self._create(claim.node, claim.address, port, now)
        return self._accept_alive(record, claim, port, now)

    def name_is_held(self, record: Record, claim: Alive, now: float) -> str:
        """Why the name cannot move to where the claim says; empty when it can."""
        return admission.name_is_held(record, record.changed_at, claim, self._config, now)

    def unfit(self, claim: Alive) -> str:
        """Why the member of this claim is not let in; empty when it is."""
        record = self.records.get(claim.node)
        silent = len(claim.versions or b"") != VERSIONS_BYTES
        versions = record.versions if record is not None and silent else claim.versions
        if not self._config.push_pull_strict and (why := admission.unfit(claim.node, versions)):
            return why
        if why := admission.objection(claim.node, claim.meta, claim.address, self._config):
            return why
        holder = self._other_bearer(claim)
        if holder is None:
            return ""
        wanted = self._identity(claim.meta)
        by = "this agent's ID" if holder.name == self.local_name else f"member '{holder.name}'"
        return f"Member '{claim.node}' has conflicting node ID '{wanted}' with {by}"

    def _other_bearer(self, claim: Alive) -> Record | None:
        """The live member that bears the claim's identity under another name and address."""
        wanted = self._identity(claim.meta)
        holder = self.records.get(self._identities.get(wanted, "")) if wanted else None
        if holder is None or holder.name == claim.node or holder.state in ENDED:
            return None
        if (holder.address, holder.port) == (claim.address, claim.port or self._config.bind_port):
            return None  # the same agent, restarted under a new name
        return holder

    def obstacle(self, claim: Alive) -> Wait | None:
        """What a claim that was refused has to wait for; None when waiting does not help."""
        record = self.records.get(claim.node)
        if record is not None and record.name != self.local_name:
            moved = (record.address, record.port) != (
                claim.address,
                claim.port or self._config.bind_port,
            )
            if moved and record.state is State.DEAD:
                at = admission.free_at(record, record.changed_at, claim, self._config)
                return None if at is None else Wait(at)
            if moved and record.state is not State.LEFT:
                return Wait(math.inf, record.name)
        holder = self._other_bearer(claim)
        return None if holder is None else Wait(math.inf, holder.name)

    def _identity(self, meta: bytes | None) -> str:
        if not self._config.unique_identities:
            return ""
        return admission.identity(meta, self._config.identity_tag)

    def _index(self, before: Record | None, after: Record | None) -> None:
        """Keep who bears which identity."""
        if before is not None and after is not None and before.meta == after.meta:
            return
        old = self._identity(before.meta) if before is not None else ""
        if old and before is not None and self._identities.get(old) == before.name:
            del self._identities[old]
        new = self._identity(after.meta) if after is not None else ""
        if new and after is not None:
            self._identities[new] = after.name

    def _claim_alive_local(self, claim: Alive, port: int) -> Verdict:
        record = self.local
        if self.leaving:
            return Verdict.IGNORED
        if (record.address, record.port) != (claim.address, port):
            return Verdict.CONFLICT
        if claim.incarnation < record.incarnation:
            return Verdict.IGNORED
        same = (claim.meta or b"") == record.meta and claim.versions == record.versions
        if claim.incarnation == record.incarnation and same:
            return Verdict.IGNORED
        return Verdict.REFUTE

    def _accept_alive(self, record: Record, claim: Alive, port: int, now: float) -> Verdict:
        versions = record.versions
        if claim.versions is not None and len(claim.versions) == VERSIONS_BYTES:
            # Nearly everybody speaks as we do: one object for all of them.
            versions = VERSIONS if claim.versions == VERSIONS else claim.versions
        after = replace(
            record,
            incarnation=claim.incarnation,
            address=claim.address,
            port=port,
            meta=claim.meta or b"",
            versions=versions,
        )
        moved = (record.address, record.port) != (after.address, after.port)
        self.records[record.name] = after
        self._index(record, after)
        if record.state is not State.ALIVE:
            suspected = record.state is State.SUSPECT
            cause = "refuted the suspicion" if suspected else "alive claim"
            if moved and record.state is State.DEAD and record.incarnation:
                cause = "took over the name of a failed member"
            self._move(after, State.ALIVE, now, cause)
        if record.state in ENDED:
            return Verdict.JOINED
        same = (record.meta, record.versions, record.address, record.port) == (
            after.meta,
            after.versions,
            after.address,
            after.port,
        )
        return Verdict.REFRESHED if same else Verdict.UPDATED

    def claim_suspect(self, name: str, incarnation: int, now: float, cause: str) -> Verdict:
        """Judge "this member does not answer"."""
        record = self.records.get(name)
        if record is None or incarnation < record.incarnation:
            return Verdict.IGNORED
        if record.state is State.SUSPECT:
            return Verdict.CONFIRMED
        if record.state is not State.ALIVE:
            return Verdict.IGNORED
        if name == self.local_name:
            return Verdict.IGNORED if self.leaving else Verdict.REFUTE
        self._move(record, State.SUSPECT, now, cause, incarnation)
        return Verdict.SUSPECTED

    def claim_dead(
        self, name: str, incarnation: int, accuser: str, now: float, cause: str
    ) -> Verdict:
        """Judge "this member is dead", or has left when it says so itself."""
        record = self.records.get(name)
        if record is None or incarnation < record.incarnation:
            return Verdict.IGNORED
        if record.state in ENDED:
            return Verdict.IGNORED
        if name == self.local_name and not self.leaving:
            return Verdict.REFUTE
        state = State.LEFT if accuser == name else State.DEAD
        self._move(record, state, now, cause, incarnation)
        return Verdict.DIED

    def next_probe_target(self, now: float) -> Record | None:
        """The next member to probe: everybody once a round, in an order that is new each round.

        One step of a Fisher-Yates shuffle per probe, which comes to the same as shuffling the whole
        list at each wrap and never costs more than one swap.
        """
        if (urgent := self._next_urgent()) is not None:
            return urgent
        for _ in range(len(self._order) + 1):
            if self._cursor >= len(self._order):
                self._purge(now)
                self._cursor = 0
            order, at = self._order, self._cursor
            other = at + int(self._rng.random() * (len(order) - at))
            order[at], order[other] = order[other], order[at]
            self._cursor += 1
            record = self.records[order[at]]
            if record.name != self.local_name and record.state not in ENDED:
                return record
        return None

    def probe_next(self, name: str) -> None:
        """Probe this member out of turn, if there is room among those that wait for it."""
        if len(self._urgent) < URGENT_MAX:
            self._urgent[name] = None

    def _next_urgent(self) -> Record | None:
        """Who waits out of turn; every other probe at most, so that the round goes on."""
        while self._urgent and not self._urgent_last:
            name = next(iter(self._urgent))
            del self._urgent[name]
            record = self.records.get(name)
            if record is not None and name != self.local_name and record.state not in ENDED:
                self._urgent_last = True
                return record
        self._urgent_last = False
        return None

    def pick(self, wanted: int, suitable: Callable[[Record], bool]) -> list[Record]:
        """Up to ``wanted`` distinct random members that are suitable; never the local one."""
        order, records = self._order, self.records
        if len(order) <= 16 * wanted:
            known = (records[name] for name in order if name != self.local_name)
            found = [record for record in known if suitable(record)]
            return self._rng.sample(found, min(wanted, len(found)))
        chosen: list[Record] = []
        for _ in range(3 * len(order)):
            record = records[order[int(self._rng.random() * len(order))]]
            if record.name != self.local_name and record not in chosen and suitable(record):
                chosen.append(record)
                if len(chosen) == wanted:
                    break
        return chosen

    def _purge(self, now: float) -> None:
        """Forget who has been dead for longer than gossip goes to the dead."""
        keep_from = now - self._config.gossip_to_the_dead_s
        gone = [
            name
            for name in self._ended
            if self.records[name].changed_at < keep_from and name != self.local_name
        ]
        if gone:
            for name in gone:
                self._index(self.records[name], None)
                del self.records[name], self._ended[name]
            self._order = [name for name in self._order if name in self.records]

    def _create(self, name: str, address: bytes, port: int, now: float) -> Record:
        """A new record, dead until its first claim is accepted, at a random place of the order."""
        record = Record(
            name=name,
            address=address,
            port=port,
            meta=b"",
            versions=b"",
            incarnation=0,
            state=State.DEAD,
            changed_at=now,
        )
        self.records[name] = record
        self._ended[name] = None
        self._order.append(name)
        other = int(self._rng.random() * len(self._order))
        self._order[-1], self._order[other] = self._order[other], self._order[-1]
        return record

    def _move(
        self, record: Record, state: State, now: float, cause: str, incarnation: int | None = None
    ) -> None:
        """The one place where a state changes; also to a new incarnation, if one is given."""
        if incarnation is None:
            incarnation = record.incarnation
        past = (*record.transitions, Transition(now, state, incarnation, cause))
        self.records[record.name] = replace(
            record,
            state=state,
            incarnation=incarnation,
            changed_at=now,
            transitions=past[-self._config.explain_transitions_max :],
        )
        self._ended.pop(record.name, None)
        if state in ENDED:
            self._ended[record.name] = None

    def annotate(self, name: str, why: Why) -> None:
        """Keep with the last change of a member's state what stood behind it."""
        record = self.records[name]
        *before, last = record.transitions
        self.records[name] = replace(record, transitions=(*before, replace(last, why=why)))

    def check(self) -> None:
        """Assert the table's invariants."""
        assert len(self._order) == len(self.records)
        assert set(self._order) == set(self.records)
        assert set(self._ended) == {r.name for r in self if r.state in ENDED}
        assert 0 <= self._cursor <= len(self._order)
        for wanted, name in self._identities.items():
            assert self._identity(self.records[name].meta) == wanted
        if self.local_name in self.records and not self.leaving:
            assert self.local.state is State.ALIVE
