"""One probe at a time, and the probes we make for others: who is asked when, and the verdict.

Gossip wire contract, sections 2.3 and 3.8: direct ping, then helpers and TCP together, then the
verdict. Times only; whom to probe and what a failure means is gossip.swim's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from gossip.config import GossipConfig
from gossip.effects import Address
from gossip.members import Record
from gossip.wire.messages import IndirectPing, Ping

# The Lifeguard paper's figure: a nack sent at the full timeout can lose the race against the
# requester's own deadline, which would blame the requester.
NACK_FRACTION = 0.8
PROTOCOL_NACK = 4


@dataclass(slots=True, eq=False, kw_only=True)
class Probe:
    """The running probe of one target."""

    name: str
    seq_no: int
    incarnation: int
    suspected: bool = False
    """It was a suspect already when we asked."""
    started_at: float
    timeout_at: float
    end_at: float
    helpers: int = 0
    helpers_asked: bool = False
    nacks_expected: int = 0
    nackers: set[Address] = field(default_factory=set)
    tcp_tried: bool = False
    tcp_answered: bool = False

    @property
    def deadline(self) -> float:
        """When the next step is due."""
        return self.end_at if self.helpers_asked else min(self.timeout_at, self.end_at)

    def failure_delta(self) -> int:
        """What a failure says about our own health: silent helpers mean it may be us."""
        if self.nacks_expected:
            return max(0, self.nacks_expected - len(self.nackers))
        return 1

    def failure_cause(self) -> str:
        """The failure in words, for `explain`."""
        parts = ["direct"]
        if self.helpers:
            parts.append(f"{self.helpers} helpers ({len(self.nackers)} nacks)")
        if self.tcp_tried:
            parts.append("TCP")
        return "no ack: " + ", ".join(parts)


def ping(seq_no: int, node: str, local: Record) -> Ping:
    """A ping of ours."""
    return Ping(
        seq_no=seq_no,
        node=node,
        source_address=local.address,
        source_port=local.port,
        source_node=local.name,
    )


def request(
    probe: Probe, target: Record, helper: Record, local: Record, *, nack: bool
) -> IndirectPing:
    """What one helper is asked; ``nack`` asks for a sign of life of its own, if it can give it."""
    nack = nack and helper.protocol_max >= PROTOCOL_NACK
    probe.nacks_expected += nack
    return IndirectPing(
        seq_no=probe.seq_no,
        node=probe.name,
        target=target.address,
        port=target.port,
        nack=nack,
        source_address=local.address,
        source_port=local.port,
        source_node=local.name,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayedProbe:
    """A probe we make for a requester."""

    requester: Address
    requester_seq_no: int
    nack: bool
    nack_at: float
    end_at: float


class RelayedProbes:
    """Probes made for others, by our own sequence number, in the order of their ends."""

    __slots__ = ("_config", "_late", "_waiting")

    def __init__(self, config: GossipConfig) -> None:
        self._config = config
        # All wait equally long, so insertion order is the order of deadlines.
        self._waiting: dict[int, RelayedProbe] = {}
        self._late: dict[int, RelayedProbe] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._late)

    def add(
        self, seq_no: int, requester: Address, requester_seq_no: int, *, nack: bool, now: float
    ) -> bool:
        """Remember whom to tell; False when too many are waiting already."""
        if len(self) >= self._config.acks_pending_max:
            return False
        self._waiting[seq_no] = RelayedProbe(
            requester=requester,
            requester_seq_no=requester_seq_no,
            nack=nack,
            nack_at=now + NACK_FRACTION * self._config.probe_timeout_s,
            end_at=now + self._config.probe_timeout_s,
        )
        return True

    def answered(self, seq_no: int) -> RelayedProbe | None:
        """An ack came; whom to forward it to, once."""
        return self._waiting.pop(seq_no, None) or self._late.pop(seq_no, None)

    def due_nacks(self, now: float) -> list[RelayedProbe]:
        """Requesters to be told that we live and the target is silent."""
        while self._late:
            seq_no, relayed = next(iter(self._late.items()))
            if relayed.end_at > now:
                break
            del self._late[seq_no]
        due: list[RelayedProbe] = []
        while self._waiting:
            seq_no, relayed = next(iter(self._waiting.items()))
            if relayed.nack_at > now:
                break
            del self._waiting[seq_no]
            self._late[seq_no] = relayed
            if relayed.nack:
                due.append(relayed)
        return due

    @property
    def deadline(self) -> float:
        """When the next nack or expiry is due."""
        if not self._waiting and not self._late:
            return math.inf
        waiting = next(iter(self._waiting.values())).nack_at if self._waiting else math.inf
        late = next(iter(self._late.values())).end_at if self._late else math.inf
        return min(waiting, late)
