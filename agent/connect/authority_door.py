"""What every server has of the mesh's authority: its duties and methods by name, and its figures.

The authority itself (agent/connect/authority.py) comes with its first work, which only a leader
has: what makes certificates takes 9 MB, and a thread 40 ms to load.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.backend import Backend, SignedLeaf
from agent.backend.authority import CONFIGURE_CA, INSTALL_CA, REQUEST_CA
from agent.connect import settings
from agent.connect.sealing import NO_SEAL, Seal
from agent.late import loaded
from raftstore.revocations import ListRevocations

if TYPE_CHECKING:
    from agent.connect.authority import Authority


@dataclass(slots=True)
class AuthorityStats:
    """Counters since start."""

    signed: int = 0
    refused: int = 0
    limited: int = 0
    rotations: int = 0
    pruned: int = 0
    #: Entries of the deny list, as this server has it.
    revocations_current: int = 0
    #: Seconds until the active root ends, as of the last look; 0 before the first.
    active_root_left_s: float = 0.0
    #: The same of the certificate that signs, where the root's key is kept elsewhere.
    intermediate_left_s: float = 0.0
    #: 1 where the signing key lies clear in the log and in snapshots (no `ca_seal_key_file`).
    clear_key_current: int = 0


class AuthorityDoor:
    """One of these on each server; whoever leads is asked."""

    def __init__(
        self,
        backend: Backend,
        *,
        datacenter: str,
        config: Mapping[str, Any],
        seal: Seal = NO_SEAL,
        domains: tuple[str, ...] = (),
    ) -> None:
        """As of Authority. Raises RequestError when the configuration cannot be used."""
        settings.read(config)
        self._backend = backend
        self._datacenter = datacenter
        self._config = config
        self._seal = seal
        self._domains = domains
        self._stats = AuthorityStats()
        self._authority: Authority | None = None
        self.methods: dict[str, Callable[[bytes, float], Awaitable[bytes]]] = {
            name: self._method(name) for name in (CONFIGURE_CA, REQUEST_CA, INSTALL_CA)
        }

    async def _opened(self) -> Authority:
        await loaded("agent.connect.authority")
        from agent.connect.authority import Authority

        if self._authority is None:
            self._authority = Authority(
                self._backend,
                datacenter=self._datacenter,
                config=self._config,
                seal=self._seal,
                stats=self._stats,
                domains=self._domains,
            )
        return self._authority

    def _method(self, name: str) -> Callable[[bytes, float], Awaitable[bytes]]:
        async def carried_out(payload: bytes, timeout_s: float) -> bytes:
            return await (await self._opened()).methods[name](payload, timeout_s)

        return carried_out

    def stats(self) -> AuthorityStats:
        """The counters as they stand."""
        if self._authority is not None:
            return self._authority.stats()
        listed = self._backend.peek(ListRevocations())
        self._stats.revocations_current = 0 if listed is None else len(listed.value)
        return self._stats

    async def ensure_root(self) -> None:
        """As of Authority."""
        await (await self._opened()).ensure_root()

    async def keep_roots(self) -> None:
        """As of Authority."""
        await (await self._opened()).keep_roots()

    async def sign_leaf(self, csr_pem: str) -> SignedLeaf:
        """As of Authority."""
        return await (await self._opened()).sign_leaf(csr_pem)

    async def close(self) -> None:
        """As of Authority."""
        if self._authority is not None:
            await self._authority.close()
