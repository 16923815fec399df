"""What the cores answer: things for the shell to do, and things that one layer tells the next.

Effects are carried out by gossip.net in the order in which they were made. Notices go from SWIM to
Serf and never reach the shell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gossip.roster import MemberEvent
from gossip.wire.messages import State
from gossip.wire.serf import Query


class Address(NamedTuple):
    """Where a member listens: raw address bytes (4 or 16) and port, UDP and TCP alike."""

    ip: bytes
    port: int


@dataclass(frozen=True, slots=True)
class SendPacket:
    """One datagram of these messages; ``crc`` when the receiver is known to understand it."""

    to: Address
    messages: tuple[bytes, ...]
    crc: bool = False


@dataclass(frozen=True, slots=True)
class PingStream:
    """Ping over TCP until ``deadline``; the outcome goes to ``tcp_ping_finished``."""

    to: Address
    seq_no: int
    message: bytes
    deadline: float


@dataclass(frozen=True, slots=True)
class ExchangeState:
    """Push/pull with a member over TCP."""

    to: Address
    name: str
    join: bool


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """Tell the application."""

    event: MemberEvent


@dataclass(frozen=True, slots=True)
class UserEventArrived:
    """A user event that is new here."""

    ltime: int
    name: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class LeaveFinished:
    """The graceful leave has been spread as far as it can be; stop now."""


@dataclass(frozen=True, slots=True)
class NameConflict:
    """Another member bears ``name`` at ``address``. ``own`` when it is our name."""

    name: str
    address: Address
    own: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A claim about ``name`` was not let in; told once per reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """``accuser`` was wrong about these members; for a time its word is checked, not believed."""

    accuser: str
    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NameLost:
    """The ring's majority knows another bearer of our name: we must stop, without a leave."""

    name: str


@dataclass(frozen=True, slots=True)
class QueryArrived:
    """A query that is the application's to answer, until ``deadline``."""

    query: Query
    deadline: float


@dataclass(frozen=True, slots=True)
class QueryReplied:
    """One member's word on a query of ours: its answer, or None for the bare acknowledgement."""

    ltime: int
    id: int
    sender: str
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class QueryEnded:
    """The time of a query of ours is over."""

    ltime: int
    id: int


@dataclass(frozen=True, slots=True)
class SaveKeys:
    """Make these keys durable, then say ``keys_saved``: only then do they count."""

    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Noted:
    """A change of a member's SWIM state, for the log."""

    name: str
    state: State
    incarnation: int
    cause: str


Effect = (
    SendPacket
    | PingStream
    | ExchangeState
    | MemberChanged
    | UserEventArrived
    | LeaveFinished
    | NameConflict
    | Refused
    | Quarantined
    | NameLost
    | QueryArrived
    | QueryReplied
    | QueryEnded
    | SaveKeys
    | Noted
)


@dataclass(frozen=True, slots=True)
class NodeUp:
    """A member joined, or is alive again."""

    name: str


@dataclass(frozen=True, slots=True)
class NodeChanged:
    """A live member has other tags, versions or address."""

    name: str


@dataclass(frozen=True, slots=True)
class NodeDown:
    """A member is dead or has left: SWIM cannot tell Serf more than that."""

    name: str


@dataclass(frozen=True, slots=True)
class PayloadArrived:
    """A user message: Serf's business."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A direct probe was answered within its timeout."""

    name: str
    rtt_s: float
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class BroadcastFinished:
    """A broadcast with this token has used up its transmits."""

    token: str


Notice = NodeUp | NodeChanged | NodeDown | PayloadArrived | RoundTrip | BroadcastFinished
