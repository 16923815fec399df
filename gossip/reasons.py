"""What stood behind a change of a member's state, as figures of that moment, kept for `explain`."""

from __future__ import annotations

from dataclasses import dataclass

from gossip.stalls import Stall


@dataclass(frozen=True, slots=True)
class Accusation:
    """Somebody said that a member does not answer."""

    accuser: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspicionFigures:
    """How long a suspect has, and from what that was worked out (contract, section 3.5)."""

    accusations: tuple[Accusation, ...]
    """The first one, then the confirmations."""
    ring_size: int
    """n, when it began."""
    confirmations_wanted: int
    """k: so many bring the timeout down to ``shortest_s``."""
    shortest_s: float
    longest_s: float
    timeout_s: float
    """With the confirmations so far, without ``excused_s``."""
    excused_s: float
    """Added because we did not run for so long."""
    started_at: float
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Our own condition when a state changed, and the suspicion that was running or began."""

    health_score: int
    stall: Stall | None
    """Our own last one."""
    suspicion: SuspicionFigures | None = None
