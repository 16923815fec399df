"""Certificates of client agents from the mesh's authority (Consul's `auto_encrypt`).

A client agent that knows only the authority of the servers dials them without a certificate, gets
one from the leader by the one method that such a connection may call, and dials anew with it. A
server that gives them out takes certificates of the mesh from its callers, of agents only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from cryptography import x509

from agent.backend import Ask, Backend, Consistency
from agent.backend.authority import NOT_READY
from agent.backend.rpc import calls
from agent.connect import ca, revoking
from agent.connect.renewal import Retry, renew_at
from agent.errors import AgentError, RequestError
from proxy.certificate import PeerCertificate
from proxy.revocations import Revocations
from proxy.spiffe import Kind, SpiffeId
from raftstore.errors import DecodeError, StoreError
from raftstore.queries import GetCARoots
from raftstore.revocations import ListRevocations

log = logging.getLogger("lictor.agent.connect.auto_encrypt")

#: A server waits for a change of the roots for so long at a time, and pauses after a failure.
ROOTS_WAIT_S, ROOTS_PAUSE_S = 300.0, 1.0
#: A client agent waits so long for servers to answer one request.
HOLD_S = 10.0


class Trusting(Protocol):
    """Where a server's port keeps whom it trusts (agent/backend/rpc/tls.py)."""

    def trust_mesh(self, roots_pem: tuple[str, ...]) -> None: ...
    def deny(self, denied: Revocations) -> None: ...


class Adopting(Protocol):
    """Where a client agent keeps its certificate."""

    def adopt(self, cert_pem: str, key_pem: str) -> None: ...


class AgentIssuer:
    """A server's part."""

    def __init__(self, backend: Backend, sign: Callable[[str], Awaitable[str]]) -> None:
        """``sign`` has the leader sign a request, and gives the certificate."""
        self._backend = backend
        self._sign = sign
        self.methods: Mapping[str, Callable[[bytes, float], Awaitable[bytes]]] = {
            calls.AGENT_CERTIFICATE: self._issue
        }

    async def _issue(self, payload: bytes, timeout_s: float) -> bytes:
        """Without a request: the trust domain, which a request has to name."""
        csr_pem, *_ = calls.unpack(payload, str)
        roots = (await self._backend.ask(GetCARoots())).value
        if not roots.trust_domain:
            raise RequestError(500, NOT_READY)
        if not csr_pem:
            return calls.pack(roots.trust_domain, "")
        if ca.requested_identity(csr_pem).kind is not Kind.AGENT:
            raise RequestError(400, "SPIFFE ID in CSR must be an agent ID")
        return calls.pack(roots.trust_domain, await self._sign(csr_pem))

    async def follow_roots(self, tls: Trusting) -> None:
        """Have the port trust the mesh's roots as they are, for ever."""
        index = 0
        while True:
            try:
                options = Ask(min_index=index, wait_s=ROOTS_WAIT_S if index else 0.0)
                found = await self._backend.ask(GetCARoots(), options)
                if found.index != index:
                    tls.trust_mesh(tuple(root.root_cert for root in found.value.roots))
                index = found.index
                if index:
                    continue
            except (AgentError, StoreError) as error:
                log.warning("roots of the mesh cannot be read error=%s", error)
                index = 0
            await asyncio.sleep(ROOTS_PAUSE_S)

    async def follow_revocations(
        self, tls: Trusting, look_again: Callable[[], Awaitable[None]]
    ) -> None:
        """Have the port deny what was revoked, for ever; ``look_again`` at what is open."""
        index = 0
        while True:
            try:
                options = Ask(min_index=index, wait_s=ROOTS_WAIT_S if index else 0.0)
                found = await self._backend.ask(ListRevocations(), options)
                if found.index != index:
                    tls.deny(revoking.in_force(found.value))
                    await look_again()
                index = found.index
                if index:
                    continue
            except (AgentError, StoreError, ValueError) as error:
                log.warning("revocations cannot be read error=%s", error)
                index = 0
            await asyncio.sleep(ROOTS_PAUSE_S)


@dataclass(slots=True)
class AutoEncryptStats:
    """Certificates that this client agent was given, and requests for one that failed."""

    issued: int = 0
    failed: int = 0


class AgentCertificate:
    """A client agent's part: gets a certificate, and a new one in time."""

    def __init__(
        self,
        ask: Callable[[bytes], Awaitable[bytes]],
        tls: Adopting,
        *,
        datacenter: str,
        node: str,
        rng: random.Random,
        adopted: Callable[[], Awaitable[None]],
    ) -> None:
        """``ask`` has any server carry out the method, with the agent's token; ``adopted`` is
        called when new connections should take the place of the open ones."""
        self._ask = ask
        self._tls = tls
        self._datacenter = datacenter
        self._node = node
        self._rng = rng
        self._adopted = adopted
        self._held: PeerCertificate | None = None
        self._denied = asyncio.Event()
        self.stats = AutoEncryptStats()

    async def run(self) -> None:
        """For ever."""
        retry = Retry(self._rng)
        while True:
            try:
                certificate = await self._renew()
            except (AgentError, StoreError, DecodeError, ValueError) as error:
                self.stats.failed += 1
                pause_s = retry.failed_s()
                log.warning("no certificate of this agent yet error=%s next_s=%.1f", error, pause_s)
                await asyncio.sleep(pause_s)
                continue
            retry.succeeded()
            self.stats.issued += 1
            now = time.time()
            at = renew_at(
                certificate.not_valid_before_utc.timestamp(),
                certificate.not_valid_after_utc.timestamp(),
                now=now,
                rng=self._rng,
            )
            log.info("certificate of this agent adopted serial=%x", certificate.serial_number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(1.0, at - now)):
                    await self._denied.wait()

    async def follow_revocations(self, backend: Backend) -> None:
        """Get another certificate at once when this one counts no more, for ever.

        A server that denies it lets us ask for another and for nothing else: that tells as well.
        """
        retry, index = Retry(self._rng), 0
        while True:
            held = self._held
            try:
                options = Ask(consistency=Consistency.STALE, min_index=index, wait_s=ROOTS_WAIT_S)
                found = await backend.ask(ListRevocations(), options)
            except (AgentError, StoreError) as error:
                refused = isinstance(error, RequestError) and error.status == 403
                if refused and held is not None and held is self._held:
                    self._denied.set()
                await asyncio.sleep(max(ROOTS_PAUSE_S, retry.failed_s()))
                continue
            retry.succeeded()
            index = found.index if found.index >= index else 0
            if self._held is not None and revoking.in_force(found.value).why(self._held):
                self._denied.set()
                index = 0  # whether the next one counts is to be seen as well
                await asyncio.sleep(ROOTS_PAUSE_S)

    async def _renew(self) -> x509.Certificate:
        domain, _ = self._read(await self._ask(calls.pack("")))
        loop = asyncio.get_running_loop()
        key = await loop.run_in_executor(None, ca.generate_key)
        identity = SpiffeId(
            kind=Kind.AGENT,
            trust_domain=domain.lower(),
            datacenter=self._datacenter,
            name=self._node,
        )
        _, cert_pem = self._read(await self._ask(calls.pack(ca.make_csr(key, identity))))
        certificate = x509.load_pem_x509_certificate(cert_pem.encode())
        self._tls.adopt(cert_pem, ca.key_pem(key))
        await self._adopted()
        self._denied.clear()
        self._held = PeerCertificate(
            identity=identity,
            serial_number=certificate.serial_number,
            not_after_at=certificate.not_valid_after_utc.timestamp(),
            not_before_at=certificate.not_valid_before_utc.timestamp(),
        )
        return certificate

    @staticmethod
    def _read(raw: bytes) -> tuple[str, str]:
        domain, cert_pem, *_ = calls.unpack(raw, str, str)
        return domain, cert_pem
