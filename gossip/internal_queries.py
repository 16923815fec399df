"""Who bears a disputed name: what we answer, and the vote about our own.

Gossip wire contract, section 7. Names beginning with `_serf_` are the ring's own business; taking
queries in and sending answers out is gossip.queries, the key queries are gossip.key_changes.
"""

from __future__ import annotations

from gossip.errors import DecodeError
from gossip.roster import Entry, Roster
from gossip.wire import serf
from gossip.wire.serf import ConflictMember, ConflictResponse, Query

INTERNAL_PREFIX = "_serf_"
CONFLICT_QUERY = "_serf_conflict"


def conflict_answer(query: Query, local_name: str, roster: Roster) -> bytes | None:
    """What we know of a disputed name; None when it is ours, for its bearer does not vote."""
    try:
        name = (query.payload or b"").decode()
    except UnicodeDecodeError:
        return serf.encode(ConflictResponse(None))
    if name == local_name:
        return None
    entry = roster.entries.get(name)
    return serf.encode(ConflictResponse(None if entry is None else _conflict_member(entry)))


def _conflict_member(entry: Entry) -> ConflictMember:
    versions = entry.versions if len(entry.versions) == 6 else bytes(6)
    return ConflictMember(
        name=entry.name,
        address=entry.ip,
        port=entry.port,
        tags=entry.tags,
        status=int(entry.status),
        protocol_min=versions[0],
        protocol_max=versions[1],
        protocol_current=versions[2],
        delegate_min=versions[3],
        delegate_max=versions[4],
        delegate_current=versions[5],
    )


class NameVote:
    """The ring's answers to "who bears our name?"."""

    __slots__ = ("_answers", "deadline", "id", "ltime")

    def __init__(self, query: Query, deadline: float) -> None:
        self.ltime = query.ltime
        self.id = query.id
        self.deadline = deadline
        self._answers: dict[str, bool] = {}

    def answer(self, sender: str, payload: bytes, ip: bytes, port: int) -> None:
        """Count one member's answer; what cannot be read does not count."""
        try:
            response = serf.decode(payload)
        except DecodeError:
            return
        if isinstance(response, ConflictResponse) and response.member is not None:
            member = response.member
            self._answers[sender] = (member.address, member.port) == (ip, port)

    @property
    def lost(self) -> bool:
        """Whether the majority of those who answered knows another bearer.

        No answer at all is not a defeat here, unlike in the reference, where one stray packet can
        end a lone member.
        """
        ours = sum(self._answers.values())
        return bool(self._answers) and ours < len(self._answers) // 2 + 1
