"""The certificate authority at work: the leader's first root, and leaves signed on request.

Decides nothing about certificates (`ca` does): it fetches what signing needs, keeps the rate
(`rate`), and takes each serial from the replicated counter before a certificate is handed out, so
that none is ever given twice.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.backend import Backend, SignedLeaf
from agent.connect import ca, settings
from agent.connect.rate import TokenBucket
from agent.errors import RequestError
from raftstore.commands import Applied, NextSerial, SetCA
from raftstore.queries import GetCAConfig, GetCAProvider, GetCARoots
from raftstore.records import CAConfig

log = logging.getLogger("lictor.agent.connect.authority")

#: How long a request may wait for its turn (measured reference, contract A.6).
RATE_WAIT_MAX_S = 0.5
RATE_LIMITED = "rate limited"
NOT_READY = "CA is uninitialized and unable to sign certificates yet: no root certificate"

_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True)
class AuthorityStats:
    """Counters since start."""

    signed: int = 0
    refused: int = 0
    limited: int = 0


class Authority:
    """Signs with the replicated key. Only on servers: it asks for what never leaves them."""

    def __init__(self, backend: Backend, *, datacenter: str, config: Mapping[str, Any]) -> None:
        """``config`` is the agent's `ca_config`. Raises RequestError when it cannot be used."""
        self._backend = backend
        self._datacenter = datacenter
        self._config = settings.normalise(config)
        self._settings = settings.read(config)
        self._bucket = TokenBucket(self._settings.csr_max_per_second)
        self._stats = AuthorityStats()

    def stats(self) -> AuthorityStats:
        """The counters as they stand."""
        return self._stats

    async def ensure_root(self) -> None:
        """Leader's duty: make trust domain and root when there are none. Safe to repeat."""
        roots = await self._backend.ask(GetCARoots())
        if roots.value.roots:
            return
        serial = await self._next_serial()
        cluster_id = self._settings.cluster_id or str(uuid.uuid4())
        loop = asyncio.get_running_loop()
        key = await loop.run_in_executor(None, ca.generate_key)
        root = ca.make_root(
            key=key,
            cluster_id=cluster_id,
            serial=serial[0],
            name_part="".join(secrets.choice(_BASE36) for _ in range(8)),
            now=datetime.now(UTC),
        )
        config = {key: value for key, value in self._config.items() if key != "ClusterID"}
        outcome = await self._backend.change(
            SetCA(
                cas=0,
                config=CAConfig(cluster_id=cluster_id, config=config),
                roots=(root.public,),
                provider=root.secret,
            )
        )
        if isinstance(outcome, Applied) and outcome.value:
            log.info("certificate authority made root=%s cluster_id=%s", root.public.id, cluster_id)
        else:
            log.info("certificate authority was made by another leader")

    async def sign_leaf(self, csr_pem: str) -> SignedLeaf:
        """Sign a request. Raises RequestError when a rule forbids it, StoreError as changes do."""
        try:
            signed = await self._sign(csr_pem)
        except RequestError as error:
            if error.text == RATE_LIMITED:
                self._stats.limited += 1
            else:
                self._stats.refused += 1
            raise
        self._stats.signed += 1
        return signed

    async def _sign(self, csr_pem: str) -> SignedLeaf:
        roots = (await self._backend.ask(GetCARoots())).value
        provider = (await self._backend.ask(GetCAProvider())).value
        stored = (await self._backend.ask(GetCAConfig())).value
        if provider is None or not roots.trust_domain:
            raise RequestError(500, NOT_READY)
        ca.read_csr(csr_pem, trust_domain=roots.trust_domain, datacenter=self._datacenter)
        current = settings.read(stored.config) if stored is not None else self._settings
        await self._take_turn(current.csr_max_per_second)
        counter, index = await self._next_serial()
        signed = ca.sign_leaf(
            csr_pem,
            signer=provider,
            trust_domain=roots.trust_domain,
            datacenter=self._datacenter,
            serial=ca.compose_serial(secrets.randbits(64), counter),
            ttl_s=current.leaf_ttl_s,
            now=datetime.now(UTC),
        )
        return SignedLeaf(cert_pem=signed.cert_pem, serial_number=signed.serial_number, index=index)

    async def _take_turn(self, rate: float) -> None:
        if rate != self._bucket.rate:
            self._bucket = TokenBucket(rate)
        now = asyncio.get_running_loop().time()
        wait_s = self._bucket.take(now=now, wait_max_s=RATE_WAIT_MAX_S)
        if wait_s is None:
            raise RequestError(429, RATE_LIMITED)
        if wait_s:
            await asyncio.sleep(wait_s)

    async def _next_serial(self) -> tuple[int, int]:
        """A fresh counter value, and the index at which it was given."""
        outcome = await self._backend.change(NextSerial())
        if not isinstance(outcome, Applied):
            raise RequestError(500, outcome.reason)
        return int(outcome.value), outcome.index
