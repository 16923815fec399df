"""What the servers share of the authority, read in one go, with the signing key opened."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from agent.backend import Backend
from agent.connect.sealing import NONCE_BYTES, Seal
from agent.errors import RequestError
from raftstore.queries import GetCAConfig, GetCAProvider, GetCARoots
from raftstore.records import CAConfig, CAProviderState, CARoot

UNINITIALIZED = "CA is uninitialized and unable to take a configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """``index`` is that of the roots, for a change that compares it; ``active`` and ``provider``
    are None until there is a root."""

    config: CAConfig
    roots: tuple[CARoot, ...]
    index: int
    active: CARoot | None
    provider: CAProviderState | None


async def read(backend: Backend, seal: Seal) -> Standing:
    """As of now. Raises RequestError 500 before there is a configuration."""
    known = await backend.ask(GetCARoots())
    provider = await signer(backend, seal)
    stored = (await backend.ask(GetCAConfig())).value
    if stored is None:
        raise RequestError(500, UNINITIALIZED)
    active = next((root for root in known.value.roots if root.active), None)
    return Standing(
        config=stored,
        roots=known.value.roots,
        index=known.index if active is not None else 0,
        active=active,
        provider=provider,
    )


async def signer(backend: Backend, seal: Seal) -> CAProviderState | None:
    """The signing key, None before there is one. Raises RequestError where it cannot be opened."""
    found = (await backend.ask(GetCAProvider())).value
    return None if found is None else replace(found, private_key=seal.open(found.private_key))


def kept(provider: CAProviderState, seal: Seal) -> CAProviderState:
    """The signing key as it is replicated."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return replace(provider, private_key=seal.close(provider.private_key, nonce))
