"""What can go wrong between a caller and the replicated store.

Every error answers the one question a caller has after a failed write: may it still happen?
``definite`` errors say no (nothing entered a log, so a retry is safe); the others say perhaps.
A command that the state machine turned down is not an error but a ``Rejected`` result.
"""

from __future__ import annotations


class StoreError(Exception):
    """Root of the store's errors."""

    definite: bool = False


class Refused(StoreError):
    """Definite: the command entered no log and never will."""

    definite = True


class NoLeader(Refused):
    """No server leads at the moment, or none is known here."""


class NotLeader(Refused):
    """This server does not lead. ``leader`` is the node id of the one that does, if known."""

    def __init__(self, leader: str | None) -> None:
        super().__init__(f"not the leader (leader: {leader or 'unknown'})")
        self.leader = leader


class QueueFull(Refused):
    """The bounded intake of proposals is full; the load must be shed, not queued."""


class Superseded(Refused):
    """The proposal was taken back before it entered the log (for instance at step-down)."""


class JournalFull(Refused):
    """The disk or the journal's map is full: writes stop, reads go on."""


class EncodeError(Refused):
    """A value cannot be carried: of the wrong type, too deep, too large, or no valid text."""


class NotInHistory(Refused):
    """The journal of changes does not reach to that index or time, or keeps no such thing."""


class Unknown(StoreError):
    """Indefinite: the command entered a log; it may or may not be applied later."""


class AnswerGone(Unknown):
    """The request was carried out at an earlier attempt, and what came of it is not known."""


class LeadershipLost(Unknown):
    """We stopped leading while the command was on its way."""


class ProposalTimeout(Unknown):
    """The deadline passed while the command was on its way."""


class DecodeError(StoreError):
    """Bytes from outside do not have the promised shape."""

    definite = True


class CorruptState(StoreError):
    """The data on disk cannot be trusted. The process must stop; the message names the remedy."""
