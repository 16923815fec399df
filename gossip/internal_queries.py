"""What the internal queries answer, and the vote about our own name.

Gossip wire contract, sections 6 and 7. Names beginning with `_serf_` are the ring's own business;
taking queries in and sending answers out is gossip.queries.
"""

from __future__ import annotations

import base64

from gossip.config import GossipConfig
from gossip.errors import DecodeError, KeyringError
from gossip.keyring import Keyring
from gossip.roster import Entry, Roster
from gossip.wire import serf
from gossip.wire.serf import ConflictMember, ConflictResponse, KeyResponse, Query

CONFLICT_QUERY = "_serf_conflict"
KEY_QUERIES = ("_serf_install-key", "_serf_use-key", "_serf_remove-key", "_serf_list-keys")
NO_KEYRING = "Keyring is empty (encryption not enabled)"


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


def key_answer(query: Query, keyring: Keyring, config: GossipConfig) -> bytes:
    """Carry out a key query on the keyring and say how it went."""
    if not keyring:
        return serf.encode(KeyResponse(False, NO_KEYRING))
    if query.name == "_serf_list-keys":
        return _key_list(keyring, config.query_response_bytes_max)
    try:
        request = serf.decode(query.payload or b"")
    except DecodeError as error:
        return serf.encode(KeyResponse(False, str(error)))
    if not isinstance(request, serf.KeyRequest):
        return serf.encode(KeyResponse(False, "not a key request"))
    try:
        if query.name == "_serf_install-key":
            keyring.install(request.key)
        elif query.name == "_serf_use-key":
            keyring.use(request.key)
        else:
            keyring.remove(request.key)
    except KeyringError as error:
        return serf.encode(KeyResponse(False, str(error)))
    return serf.encode(KeyResponse(True))


def _key_list(keyring: Keyring, limit_bytes: int) -> bytes:
    keys = [base64.b64encode(key).decode() for key in keyring.keys]
    shown = min(len(keys), limit_bytes // 25)
    while True:
        text = ""
        if shown < len(keys):
            text = f"truncated key list response, showing first {shown} of {len(keys)} keys"
        answer = serf.encode(KeyResponse(True, text, tuple(keys[:shown]), keys[0]))
        # 100 bytes for the response around it.
        if len(answer) <= limit_bytes - 100 or shown == 0:
            return answer
        shown -= 1


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
