"""What operators ask of the leader, as values: remove a server, hand over, how are the servers.

These are not commands: they change who replicates, not what. Only the leader can carry them out, so
an agent passes them on until one takes them (``Backend.on_leader``); what they mean to Raft is
agent/leader/servers.py's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from agent.backend.rpc import calls
from raftstore.codec import codec_for

REMOVE_SERVER = "remove-server"
TRANSFER_LEADERSHIP = "transfer-leadership"
AUTOPILOT_STATE = "autopilot-state"
#: Of agent/backend/sessions.py.
RENEW_SESSION = "renew-session"
SESSION_CLOCK = "session-clock"
#: Of agent/backend/coordinates.py.
UPDATE_COORDINATE = "update-coordinate"
#: Of agent/backend/access.py.
BOOTSTRAP_ACL = "bootstrap-acl"
#: Of agent/backend/authority.py.
CONFIGURE_CA = "configure-ca"
REQUEST_CA = "request-ca"
INSTALL_CA = "install-ca"
#: Of agent/backend/logins.py.
LOGIN = "acl-login"
LOGOUT = "acl-logout"
OIDC_BEGIN = "acl-oidc-begin"
OIDC_FINISH = "acl-oidc-finish"
LEADER_METHODS = (
    REMOVE_SERVER,
    TRANSFER_LEADERSHIP,
    AUTOPILOT_STATE,
    RENEW_SESSION,
    SESSION_CLOCK,
    UPDATE_COORDINATE,
    BOOTSTRAP_ACL,
    CONFIGURE_CA,
    REQUEST_CA,
    INSTALL_CA,
    LOGIN,
    LOGOUT,
    OIDC_BEGIN,
    OIDC_FINISH,
)
#: These may be done twice without harm: an attempt of which nobody knows is followed by another.
REPEATABLE = frozenset({AUTOPILOT_STATE, RENEW_SESSION, SESSION_CLOCK, UPDATE_COORDINATE})

#: A description of all servers; Raft has 64 members at most.
STATE_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerHealth:
    """One server as the leader judges it. ``status`` is gossip's word, times are in seconds."""

    node_id: str
    name: str
    address: str
    status: str
    version: str
    leader: bool
    voter: bool
    healthy: bool
    reason: str
    last_contact_s: float
    last_term: int
    last_index: int
    stable_since_unix_s: float
    read_replica: bool = False
    meta: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AutopilotState:
    """All servers of the Raft configuration, and how many more may fail."""

    healthy: bool
    failure_tolerance: int
    optimistic_failure_tolerance: int
    leader: str
    servers: tuple[ServerHealth, ...]
    #: Node id -> why it is left as it is, for those that the leader would rather change.
    waiting: Mapping[str, str] = field(default_factory=dict)
    #: What was changed lately and why, newest last.
    done: tuple[str, ...] = ()


_STATE = codec_for(AutopilotState)


def encode_state(state: AutopilotState) -> bytes:
    """For the wire."""
    return _STATE.encode(state)


def decode_state(payload: bytes) -> AutopilotState:
    """From the wire. Raises DecodeError."""
    state: AutopilotState = _STATE.decode(payload, bytes_max=STATE_BYTES_MAX)
    return state


class AsksLeader(Protocol):
    """The part of a backend that this needs."""

    async def on_leader(self, method: str, payload: bytes) -> bytes:
        """Have the leader carry out a method. Raises StoreError, ForwardError, RequestError."""
        ...


class Operations:
    """The operator's calls from any agent."""

    __slots__ = ("_backend",)

    def __init__(self, backend: AsksLeader) -> None:
        self._backend = backend

    async def remove_server(self, *, node_id: str = "", address: str = "") -> None:
        """Take a server out of the Raft configuration, by id or by "ip:port".

        Returns when that is committed. Raises RequestError in the reference's words.
        """
        await self._backend.on_leader(REMOVE_SERVER, calls.pack(node_id, address))

    async def transfer_leadership(self, node_id: str = "") -> None:
        """Hand leadership to this voter, or to the one that has most of the log."""
        await self._backend.on_leader(TRANSFER_LEADERSHIP, calls.pack(node_id))

    async def autopilot_state(self) -> AutopilotState:
        """How the leader judges the servers."""
        return decode_state(await self._backend.on_leader(AUTOPILOT_STATE, b""))
