"""MemberTable: who wins between two claims about a member. The only place that changes a member.

Gossip wire contract, sections 3.1 to 3.3: state and incarnation decide. The table judges a claim
and says what became of it; spreading it, timing suspicions and telling others are gossip.swim's.
Serf's own view, with its longer memory, is gossip.roster.
"""

from __future__ import annotations

import enum
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gossip.config import META_BYTES_MAX, GossipConfig
from gossip.wire.messages import Alive, State

NAME_BYTES_RECEIVED_MAX = 256  # older members allow longer names than we do
VERSIONS_BYTES = 6
INCARNATION_MAX = (1 << 32) - 1
VERSIONS = bytes((1, 5, 2, 2, 5, 5))  # memberlist min, max, spoken; Serf min, max, spoken


class Verdict(enum.Enum):
    """What became of a claim."""

    IGNORED = enum.auto()
    INVALID = enum.auto()
    """No member may say this; counted as a bad message."""
    CONFLICT = enum.auto()
    """Same name at another address."""
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


@dataclass(slots=True, eq=False, kw_only=True)
class Record:
    """What we hold of one member. Changed by the table only."""

    name: str
    address: bytes
    port: int
    meta: bytes
    versions: bytes
    incarnation: int
    state: State
    changed_at: float
    transitions: deque[Transition]

    @property
    def protocol_max(self) -> int:
        """Highest memberlist protocol it understands: 3 TCP pings, 4 nacks, 5 CRC."""
        return self.versions[1] if len(self.versions) == VERSIONS_BYTES else 0


class MemberTable:
    """All known members by name, the local one included, and the round-robin order of probing."""

    __slots__ = ("_config", "_cursor", "_order", "_rng", "leaving", "local_name", "records")

    def __init__(self, config: GossipConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self.local_name = config.name
        self.leaving = False
        self.records: dict[str, Record] = {}
        self._order: list[Record] = []
        self._cursor = 0

    def __len__(self) -> int:
        """The ring-size estimate n: every record, also of the dead that are not purged yet."""
        return len(self.records)

    @property
    def local(self) -> Record:
        return self.records[self.local_name]

    def get(self, name: str) -> Record | None:
        return self.records.get(name)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._order)

    def set_local(self, *, address: bytes, port: int, meta: bytes, now: float) -> Record:
        """The local member comes to life, or changes its tags: takes the next incarnation."""
        record = self.records.get(self.local_name)
        if record is None:
            record = self._create(self.local_name, address, port, now)
            record.versions = VERSIONS
        record.address, record.port, record.meta = address, port, meta
        self.next_incarnation(0)
        if record.state is not State.ALIVE:
            self._move(record, State.ALIVE, now, "started")
        return record

    def next_incarnation(self, accused: int) -> int:
        """An incarnation of ours above both our own and the accused one."""
        record = self.local
        record.incarnation = min(max(record.incarnation, accused) + 1, INCARNATION_MAX)
        return record.incarnation

    def claim_alive(self, claim: Alive, now: float) -> Verdict:
        """Judge "this member is alive with these particulars"."""
        if not self._valid(claim):
            return Verdict.INVALID
        port = claim.port or self._config.bind_port
        record = self.records.get(claim.node)
        if claim.node == self.local_name:
            return self._claim_alive_local(claim, port)
        if record is None:
            if claim.incarnation < 1 or len(self.records) >= self._config.members_max:
                return Verdict.IGNORED
            record = self._create(claim.node, claim.address, port, now)
        moved = (record.address, record.port) != (claim.address, port)
        if moved and record.state is not State.LEFT:
            # A failed name may come back elsewhere only after its record was purged.
            return Verdict.CONFLICT
        if not moved and claim.incarnation <= record.incarnation:
            return Verdict.IGNORED
        return self._accept_alive(record, claim, port, now)

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
        before = (record.meta, record.versions, record.address, record.port)
        was = record.state
        record.incarnation = claim.incarnation
        record.address, record.port = claim.address, port
        record.meta = claim.meta or b""
        if claim.versions is not None and len(claim.versions) == VERSIONS_BYTES:
            record.versions = claim.versions
        if was is not State.ALIVE:
            cause = "refuted the suspicion" if was is State.SUSPECT else "alive claim"
            self._move(record, State.ALIVE, now, cause)
        if was in (State.DEAD, State.LEFT):
            return Verdict.JOINED
        after = (record.meta, record.versions, record.address, record.port)
        return Verdict.REFRESHED if before == after else Verdict.UPDATED

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
        record.incarnation = incarnation
        self._move(record, State.SUSPECT, now, cause)
        return Verdict.SUSPECTED

    def claim_dead(
        self, name: str, incarnation: int, accuser: str, now: float, cause: str
    ) -> Verdict:
        """Judge "this member is dead", or has left when it says so itself."""
        record = self.records.get(name)
        if record is None or incarnation < record.incarnation:
            return Verdict.IGNORED
        if record.state in (State.DEAD, State.LEFT):
            return Verdict.IGNORED
        if name == self.local_name and not self.leaving:
            return Verdict.REFUTE
        record.incarnation = incarnation
        self._move(record, State.LEFT if accuser == name else State.DEAD, now, cause)
        return Verdict.DIED

    def next_probe_target(self, now: float) -> Record | None:
        """The next member to probe: round robin over a list shuffled anew at each wrap."""
        for _ in range(len(self._order) + 1):
            if self._cursor >= len(self._order):
                self._purge(now)
                self._rng.shuffle(self._order)
                self._cursor = 0
            record = self._order[self._cursor]
            self._cursor += 1
            if record.name != self.local_name and record.state in (State.ALIVE, State.SUSPECT):
                return record
        return None

    def pick(self, wanted: int, suitable: Callable[[Record], bool]) -> list[Record]:
        """Up to ``wanted`` distinct random members that are suitable; never the local one."""
        order = self._order
        if len(order) <= 16 * wanted:
            found = [r for r in order if r.name != self.local_name and suitable(r)]
            return self._rng.sample(found, min(wanted, len(found)))
        chosen: list[Record] = []
        for _ in range(3 * len(order)):
            record = order[int(self._rng.random() * len(order))]
            if record.name != self.local_name and record not in chosen and suitable(record):
                chosen.append(record)
                if len(chosen) == wanted:
                    break
        return chosen

    def _purge(self, now: float) -> None:
        """Forget who has been dead for longer than gossip goes to the dead."""
        keep_from = now - self._config.gossip_to_the_dead_s
        gone = [
            r
            for r in self._order
            if r.state in (State.DEAD, State.LEFT)
            and r.changed_at < keep_from
            and r.name != self.local_name
        ]
        if gone:
            for record in gone:
                del self.records[record.name]
            self._order = [r for r in self._order if r.name in self.records]

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
            transitions=deque(maxlen=self._config.explain_transitions_max),
        )
        self.records[name] = record
        self._order.append(record)
        other = self._rng.randrange(len(self._order))
        self._order[-1], self._order[other] = self._order[other], self._order[-1]
        return record

    def _move(self, record: Record, state: State, now: float, cause: str) -> None:
        record.state = state
        record.changed_at = now
        record.transitions.append(Transition(now, state, record.incarnation, cause))

    def _valid(self, claim: Alive) -> bool:
        if not 1 <= len(claim.node.encode()) <= NAME_BYTES_RECEIVED_MAX:
            return False
        if len(claim.address) not in (4, 16) or len(claim.meta or b"") > META_BYTES_MAX:
            return False
        vsn = claim.versions or b""
        return not (len(vsn) >= 3 and (vsn[0] == 0 or vsn[1] == 0 or vsn[0] > vsn[1]))

    def check(self) -> None:
        """Assert the table's invariants."""
        assert len(self._order) == len(self.records)
        assert {record.name for record in self._order} == set(self.records)
        assert 0 <= self._cursor <= len(self._order)
        if self.local_name in self.records and not self.leaving:
            assert self.local.state is State.ALIVE
