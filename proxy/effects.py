"""What a connection's core asks its shell to do, as values."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from proxy.source import AppAddress, Endpoint


class Side(enum.Enum):
    """The two halves of a proxied connection: who dialled us, and whom we dialled."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"

    @property
    def other(self) -> Side:
        """The opposite half."""
        return Side.UPSTREAM if self is Side.DOWNSTREAM else Side.DOWNSTREAM


@dataclass(frozen=True, slots=True)
class Dial:
    """Open the upstream half: the local application in clear, another sidecar over mTLS."""

    target: AppAddress | Endpoint


@dataclass(frozen=True, slots=True)
class HangUp:
    """Throw away the upstream half that was just dialled; another may be dialled next."""


@dataclass(frozen=True, slots=True)
class StartRelay:
    """Both halves stand: let the bytes flow."""


@dataclass(frozen=True, slots=True)
class CloseWrite:
    """One half has ended: tell the other, which may still send."""

    side: Side


@dataclass(frozen=True, slots=True)
class Close:
    """End both halves in order: what is buffered, then an end of stream, never a reset.

    Input is thrown away from now on; after ``linger_s`` what is left is aborted.
    """

    reason: str
    linger_s: float


@dataclass(frozen=True, slots=True)
class Abort:
    """Reset both halves now."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Something to count and, for refusals, to remember. ``event`` and ``reason`` are stable words.

    Events: "denied", "cut", "identity", "handshake", "dial", "ended". ``detail`` is for people.
    """

    event: str
    reason: str
    source: str = ""
    destination: str = ""
    detail: str = ""

    @property
    def quiet(self) -> bool:
        """Whether it is only counted: a TCP health check looks like somebody who goes without a
        word, and a flood of handshakes is to cost no lines of the log."""
        return self.reason in _QUIET


_QUIET = frozenset({"peer_gone", "handshake_overflow"})
Effect = Dial | HangUp | StartRelay | CloseWrite | Close | Abort | Record
