"""Whom a server hears, and what nobody from outside may bring about (hazards A4, S2, D4)."""

from __future__ import annotations

from raftstore.raft.frames import (
    Append,
    Message,
    PreVoteRequest,
    SnapshotChunk,
    SnapshotOffer,
    VoteRequest,
)
from raftstore.raft.lost_disk import DiskIs


def is_heard(message: Message, *, configured: bool, member: bool) -> bool:
    """Is a message taken that a member, or a stranger whom the transport lets in, has sent?

    Our configuration may be old, and then a newer server leads or campaigns that we do not know of:
    votes and entries are taken from every server that the transport lets in. One that we know as
    removed may be back. Answers count from members only.
    """
    if isinstance(message, DiskIs):  # the transport knows who says it
        return True
    if not configured:  # no member of anything yet: take the log, but have no say
        return isinstance(message, Append | SnapshotOffer | SnapshotChunk)
    return member or isinstance(
        message, Append | VoteRequest | PreVoteRequest | SnapshotOffer | SnapshotChunk
    )


def is_impostor(
    peer: str, term: int, *, our_term: int, leader_id: str | None, configured: bool, member: bool
) -> bool:
    """Does a stranger claim a term that has a leader, whom we know?

    From a member that would be a violation of safety and ends the process.
    Nobody from outside may bring that about.
    """
    taken = term == our_term and leader_id not in (None, peer)
    return configured and not member and taken
