"""What is asked of the leader about sessions, as values: renew one, and how its TTL stands.

A renewal is no command: nothing is written, the leader alone remembers it. It may be asked twice
without harm, so it is repeated over an election until some leader has confirmed it.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.backend.operations import RENEW_SESSION, SESSION_CLOCK, AsksLeader
from agent.backend.rpc import calls
from raftstore import wire
from raftstore.codec import codec_for
from raftstore.queries import Answer, GetSession
from raftstore.records import Session

CLOCK_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClock:
    """How the leader counts one session's TTL. Times are in seconds, ages before the answer.

    ``known`` is False where it counts none: the session has no TTL, or is not there. ``since`` says
    what the TTL was last counted from; ``left_s`` is what is left until the leader ends it.
    """

    leader: str
    known: bool = False
    ttl_s: float = 0.0
    left_s: float = 0.0
    since: str = ""
    since_ago_s: float = 0.0
    renewals: int = 0
    renewed_ago_s: tuple[float, ...] = ()
    ending: bool = False


_CLOCK = codec_for(SessionClock)


def encode_clock(clock: SessionClock) -> bytes:
    """For the wire."""
    return _CLOCK.encode(clock)


def encode_renewed(session_id: str, session: Session | None) -> bytes:
    """What a renewal found, for the wire."""
    index = 1 if session is None else session.modify_index
    return wire.encode_answer(GetSession(session_id), Answer(index, session))


def read_id(payload: bytes) -> str:
    """The session that a request is about. Raises DecodeError."""
    session_id, *_ = calls.unpack(payload, str)
    return str(session_id)


class SessionCalls:
    """These questions, from any agent. ``session_id`` is in lower case."""

    __slots__ = ("_backend",)

    def __init__(self, backend: AsksLeader) -> None:
        self._backend = backend

    async def renew(self, session_id: str) -> Session | None:
        """Count the session's TTL from now; the session, or None when it is not there.

        Returns when the leader has confirmed that it leads. Raises StoreError, ForwardError: the
        renewal may then have counted or not.
        """
        payload = calls.pack(session_id)
        raw = await self._backend.on_leader(RENEW_SESSION, payload)
        session: Session | None = wire.decode_answer(GetSession(session_id), raw).value
        return session

    async def clock(self, session_id: str) -> SessionClock:
        """How its TTL stands. Raises StoreError, ForwardError."""
        raw = await self._backend.on_leader(SESSION_CLOCK, calls.pack(session_id))
        clock: SessionClock = _CLOCK.decode(raw, bytes_max=CLOCK_BYTES_MAX)
        return clock
