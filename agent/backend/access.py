"""The first management token, as it is asked of the leader: whether there may be one is its say.

Not a plain command: a reset is allowed by a file that only the leader has.
"""

from __future__ import annotations

from agent.backend.operations import BOOTSTRAP_ACL, AsksLeader
from raftstore import wire
from raftstore.codec import codec_for
from raftstore.commands import Outcome
from raftstore.definitions import ACLToken

TOKEN_BYTES_MAX = 16 * 1024

_TOKEN = codec_for(ACLToken)


def decode_token(payload: bytes) -> ACLToken:
    """From the wire. Raises DecodeError."""
    token: ACLToken = _TOKEN.decode(payload, bytes_max=TOKEN_BYTES_MAX)
    return token


async def bootstrap(backend: AsksLeader, token: ACLToken) -> Outcome:
    """Make this the first management token. Raises StoreError, ForwardError."""
    raw = await backend.on_leader(BOOTSTRAP_ACL, _TOKEN.encode(token))
    return wire.decode_outcome(raw)
