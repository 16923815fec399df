"""What an operator wishes of the certificate authority, on its way to the leader.

Not a command: the leader makes keys and certificates first; only what is finished is replicated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.backend.operations import CONFIGURE_CA, AsksLeader
from raftstore.codec import codec_for
from raftstore.records import Json

__all__ = ["CONFIGURE_CA", "AuthorityCalls", "CAWish", "decode_wish"]

#: A certificate and a key, and some settings.
WISH_BYTES_MAX = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CAWish:
    """Settings to change; ``rotate`` wants a new root in any case, ``force`` also where the old
    one cannot sign it."""

    config: Mapping[str, Json] = field(default_factory=dict, repr=False)
    force: bool = False
    rotate: bool = False


_WISH = codec_for(CAWish)


def decode_wish(payload: bytes) -> CAWish:
    """From the wire. Raises DecodeError."""
    wish: CAWish = _WISH.decode(payload, bytes_max=WISH_BYTES_MAX)
    return wish


class AuthorityCalls:
    """Asks the leader, from any agent."""

    __slots__ = ("_backend",)

    def __init__(self, backend: AsksLeader) -> None:
        self._backend = backend

    async def configure(self, wish: CAWish) -> None:
        """Change the authority's settings or root. Raises RequestError, StoreError, ForwardError.

        After an error that is not definite the change may still have happened; what is in force
        can be read.
        """
        await self._backend.on_leader(CONFIGURE_CA, _WISH.encode(wish))
