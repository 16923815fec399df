"""The authority below a root whose key is kept elsewhere: asks for its certificate, installs it.

What a chain must be like is decided by `intermediates`. The key of a request waits in the
replicated state until the certificate comes, whoever leads then.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from agent.backend import Backend
from agent.connect import ca, intermediates, roots, settings, standing
from agent.connect.sealing import NONCE_BYTES, Seal
from agent.connect.standing import Standing
from agent.errors import RequestError
from raftstore.commands import Applied, SetCA
from raftstore.records import CAProviderState, CARoot
from raftstore.signing_requests import GetSigningRequest, OpenSigningRequest

log = logging.getLogger("lictor.agent.connect.external")

NOT_EXTERNAL = "the authority has no external signer: set ExternalSigner in its configuration first"
NO_REQUEST = "no signing request is open: `lictor connect ca csr` opens one"
CHANGED = "the CA configuration was changed at the same time; try again"
CrossSign = Callable[[ca.Root, CAProviderState], Awaitable[str]]


class ExternalSigner:
    """Only on the leader; one change at a time is the caller's to see to."""

    def __init__(self, backend: Backend, seal: Seal, now: Callable[[], datetime]) -> None:
        self._backend = backend
        self._seal = seal
        self._now = now

    async def request(self, *, fresh: bool) -> str:
        """The open signing request, PEM; ``fresh`` has another key made in any case.

        Raises RequestError, StoreError.
        """
        found = await standing.read(self._backend, self._seal)
        wanted = settings.read(found.config.config)
        if not wanted.external_signer:
            raise RequestError(500, NOT_EXTERNAL)
        waiting = (await self._backend.ask(GetSigningRequest())).value
        loop = asyncio.get_running_loop()
        if waiting and not fresh:
            key = roots.load_key(self._seal.open(waiting))
        else:
            key = await loop.run_in_executor(
                None, ca.generate_key, wanted.key_type, wanted.key_bits
            )
            kept = self._seal.close(ca.key_pem(key), secrets.token_bytes(NONCE_BYTES))
            outcome = await self._backend.change(OpenSigningRequest(kept))
            if not isinstance(outcome, Applied):
                raise RequestError(500, outcome.reason)
            log.info("signing request opened key=%s %d", *ca.kind_of(key))
        return intermediates.request(key, cluster_id=found.config.cluster_id)

    async def install(self, chain_pem: str, cross_sign: CrossSign) -> bool:
        """Sign with what somebody signed for us, from now on; whether that meant another root.

        Raises RequestError, StoreError.
        """
        found = await standing.read(self._backend, self._seal)
        wanted = settings.read(found.config.config)
        waiting = (await self._backend.ask(GetSigningRequest())).value
        if not waiting:
            raise RequestError(500, NO_REQUEST)
        if not wanted.external_signer:
            raise RequestError(500, NOT_EXTERNAL)
        new = intermediates.installed(
            chain_pem,
            roots.load_key(self._seal.open(waiting)),
            cluster_id=found.config.cluster_id,
            leaf_ttl_s=wanted.leaf_ttl_s,
            now=self._now(),
        )
        listed, secret = await self._followed(found, new, cross_sign)
        # The key as it waited, not sealed anew: by that the state knows that it waits no longer.
        secret = replace(secret, private_key=waiting)
        command = SetCA(cas=found.index, config=found.config, roots=listed, provider=secret)
        outcome = await self._backend.change(command)
        if not isinstance(outcome, Applied) or not outcome.value:
            raise RequestError(500, CHANGED)
        log.warning("intermediate installed root=%s", new.public.id)
        return found.active is None or found.active.id != new.public.id

    async def _followed(
        self, found: Standing, new: ca.Root, cross_sign: CrossSign
    ) -> tuple[tuple[CARoot, ...], CAProviderState]:
        """The list of roots and the signer: another intermediate of the same root, or another."""
        cross = ""
        if found.active is not None and found.provider is not None:
            if found.active.id == new.public.id:
                cross = found.provider.intermediate_cert
                return roots.renewed(found.roots, new, cross)
            cross = await cross_sign(new, found.provider)
        return roots.succeeded(found.roots, new, cross, now=self._now())
