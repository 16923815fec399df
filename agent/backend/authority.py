"""What an operator wishes of the certificate authority, on its way to the leader.

Not a command: the leader makes keys and certificates first; only what is finished is replicated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.backend.operations import CONFIGURE_CA, INSTALL_CA, REQUEST_CA, AsksLeader
from agent.backend.rpc import calls
from raftstore.codec import codec_for
from raftstore.records import Json

__all__ = [
    "CONFIGURE_CA",
    "INSTALL_CA",
    "REQUEST_CA",
    "AuthorityCalls",
    "CAWish",
    "decode_chain",
    "decode_fresh",
    "decode_wish",
]

#: What the leader answers to whom it cannot sign for now.
NOT_READY = "CA is uninitialized and unable to sign certificates yet: no root certificate"
RATE_LIMITED = "rate limited"

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


def decode_fresh(payload: bytes) -> bool:
    """Whether a signing request is to have another key. Raises DecodeError."""
    fresh, *_ = calls.unpack(payload, bool)
    return bool(fresh)


def decode_chain(payload: bytes) -> tuple[str, bool]:
    """Certificates as PEM, and whether to do without cross-signing. Raises DecodeError."""
    chain_pem, force, *_ = calls.unpack(payload, str, bool)
    return chain_pem, bool(force)


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

    async def request(self, *, fresh: bool) -> str:
        """The open signing request of the intermediate, PEM; ``fresh`` opens another.

        Raises as `configure`.
        """
        return (await self._backend.on_leader(REQUEST_CA, calls.pack(fresh))).decode()

    async def install(self, chain_pem: str, *, force: bool) -> None:
        """Sign with what was signed of it: intermediate, those above it, root. Raises as
        `configure`."""
        await self._backend.on_leader(INSTALL_CA, calls.pack(chain_pem, force))
