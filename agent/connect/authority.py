"""The certificate authority at work: roots and their succession, and leaves signed on request.

Decides nothing about certificates (`ca`, `roots` do): it fetches what signing needs, keeps the rate
(`rate`), and takes each serial from the replicated counter before a certificate is handed out, so
that none is ever given twice. A rotation is one command that compares the roots' index: it happens
whole or not at all, whoever leads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from agent.backend import Backend, SignedLeaf
from agent.backend.authority import (
    CONFIGURE_CA,
    INSTALL_CA,
    NOT_READY,
    RATE_LIMITED,
    REQUEST_CA,
    CAWish,
    decode_chain,
    decode_fresh,
    decode_wish,
)
from agent.connect import ca, intermediates, roots, settings, standing
from agent.connect.authority_door import AuthorityStats
from agent.connect.external import CHANGED, ExternalSigner
from agent.connect.issuing import Issuing, next_serials
from agent.connect.rate import TokenBucket
from agent.connect.sealing import NO_SEAL, Seal
from agent.connect.settings import CASettings
from agent.connect.standing import Standing
from agent.dates import rfc3339
from agent.errors import AgentError, RequestError
from raftstore.commands import Applied, SetCA, SetCAConfig
from raftstore.errors import StoreError
from raftstore.queries import GetCAConfig, GetCAProvider, GetCARoots
from raftstore.records import CAConfig, CAProviderState, CARoot
from raftstore.revocations import DropRevocations, ListRevocations

log = logging.getLogger("lictor.agent.connect.authority")

#: How long a request may wait for its turn (measured reference, contract A.6).
RATE_WAIT_MAX_S = 0.5

#: A root that ends sooner than this is warned about, in seconds.
EXPIRY_WARNING_S = 90 * 86_400.0
#: How often the leader looks for roots that nobody needs any more (contract A.8), in seconds.
PRUNE_INTERVAL_S = 3600.0
BUSY = "cannot update, another change is running"
EXTERNAL_ROTATE = (
    "the root's key is kept elsewhere: `lictor connect ca csr -new` asks for another certificate, "
    "`lictor connect ca set-intermediate` installs it"
)
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


class Authority:
    """Signs with the replicated key. Only on servers: it asks for what never leaves them."""

    def __init__(
        self,
        backend: Backend,
        *,
        datacenter: str,
        config: Mapping[str, Any],
        seal: Seal = NO_SEAL,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        stats: AuthorityStats | None = None,
        domains: tuple[str, ...] = (),
    ) -> None:
        """``config`` is the agent's `ca_config`, ``seal`` closes keys before they are replicated,
        ``stats`` counts on, where somebody has begun; ``domains`` are the zones of DNS.
        Raises RequestError when the configuration cannot be used."""
        self._backend = backend
        self._datacenter = datacenter
        self._config = settings.normalise(config)
        self._settings = settings.read(config)
        self._now = now
        self._seal = seal
        self._external = ExternalSigner(backend, seal, now)
        self._issuing = Issuing(backend, seal, now, datacenter=datacenter, domains=domains)
        self._bucket = TokenBucket(self._settings.csr_max_per_second)
        self._places = asyncio.Semaphore(self._settings.csr_max_concurrent or 1)
        self._places_max = self._settings.csr_max_concurrent or 1
        self._configuring = False
        self._stats = stats or AuthorityStats()

    @property
    def methods(self) -> dict[str, Callable[[bytes, float], Awaitable[bytes]]]:
        """What other agents may ask of the leader."""
        return {
            CONFIGURE_CA: self._configure,
            REQUEST_CA: self._request,
            INSTALL_CA: self._install,
        }

    def stats(self) -> AuthorityStats:
        """The counters as they stand."""
        listed = self._backend.peek(ListRevocations())
        self._stats.revocations_current = 0 if listed is None else len(listed.value)
        return self._stats

    # Roots

    async def ensure_root(self) -> None:
        """Leader's duty: make trust domain and root when there are none. Safe to repeat."""
        if (await self._backend.ask(GetCARoots())).value.roots:
            return
        stored = (await self._backend.ask(GetCAConfig())).value
        given = self._config if stored is None else stored.config
        wanted = settings.read(given)
        cluster_id = wanted.cluster_id or str(uuid.uuid4())
        if stored is not None:
            cluster_id = stored.cluster_id
        _warn_of_long_lives(wanted)
        config = {key: value for key, value in given.items() if key != "ClusterID"}
        kept = CAConfig(cluster_id=cluster_id, config=settings.shown(config))
        if wanted.external_signer:
            if stored is None:
                await self._backend.change(SetCAConfig(cas=0, config=kept))
            log.warning("no leaf is signed until `lictor connect ca set-intermediate` is done")
            return
        root = await self._new_root(wanted, None, cluster_id)
        outcome = await self._backend.change(
            SetCA(
                cas=0,
                config=kept,
                roots=(root.public,),
                provider=standing.kept(root.secret, self._seal),
            )
        )
        if isinstance(outcome, Applied) and outcome.value:
            log.info("certificate authority made root=%s cluster_id=%s", root.public.id, cluster_id)
        else:
            log.info("certificate authority was made by another leader")

    async def _new_root(
        self, wanted: CASettings, provider: CAProviderState | None, cluster_id: str
    ) -> ca.Root:
        """The root that the settings ask for: brought, of a key that was brought, or all new."""
        loop, now = asyncio.get_running_loop(), self._now()
        key: ca.PrivateKey
        if wanted.private_key:
            key = roots.load_key(wanted.private_key)
        elif wanted.root_cert and provider is not None:
            key = roots.load_key(provider.private_key)
        else:
            key = await loop.run_in_executor(
                None, ca.generate_key, wanted.key_type, wanted.key_bits
            )
        if wanted.root_cert:
            return roots.brought(wanted, key, cluster_id=cluster_id, now=now)
        serial, _ = await next_serials(self._backend, 1)
        return ca.make_root(
            key=key,
            cluster_id=cluster_id,
            serial=serial,
            name_part="".join(secrets.choice(_BASE36) for _ in range(8)),
            now=now,
            ttl_s=wanted.root_ttl_s,
        )

    async def _configure(self, payload: bytes, _left_s: float) -> bytes:
        await self.configure(decode_wish(payload))
        return b""

    async def _request(self, payload: bytes, _left_s: float) -> bytes:
        with self._alone():
            return (await self._external.request(fresh=decode_fresh(payload))).encode()

    async def _install(self, payload: bytes, _left_s: float) -> bytes:
        chain_pem, force = decode_chain(payload)

        async def cross_sign(root: ca.Root, old: CAProviderState) -> str:
            return await self._cross_signed(root, old, force=force)

        with self._alone():
            self._stats.rotations += await self._external.install(chain_pem, cross_sign)
        return b""

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        if self._configuring:
            raise RequestError(500, BUSY)
        self._configuring = True
        try:
            yield
        finally:
            self._configuring = False

    async def configure(self, wish: CAWish) -> None:
        """Change the settings, and the root if they mean another. Raises RequestError."""
        with self._alone():
            await self._change(wish)

    async def _change(self, wish: CAWish) -> None:
        found = await standing.read(self._backend, self._seal)
        values = settings.followed(found.config.config, wish.config)
        wanted = settings.read(values)
        config = CAConfig(
            provider="consul",
            cluster_id=found.config.cluster_id,
            config=settings.shown(values),
            state=found.config.state,
            force_without_cross_signing=wish.force,
        )
        _warn_of_long_lives(wanted)
        if wanted.external_signer and wish.rotate:
            raise RequestError(500, EXTERNAL_ROTATE)
        root = await self._wanted_root(wish, wanted, found)
        if root is None or (found.active is not None and root.public.id == found.active.id):
            cas = found.config.modify_index
            command: SetCA | SetCAConfig = SetCAConfig(cas=cas, config=config)
        else:
            cross = ""
            if found.provider is not None:
                cross = await self._cross_signed(root, found.provider, force=wish.force)
            listed, secret = roots.succeeded(found.roots, root, cross, now=self._now())
            secret = standing.kept(secret, self._seal)
            command = SetCA(cas=found.index, config=config, roots=listed, provider=secret)
        outcome = await self._backend.change(command)
        if not isinstance(outcome, Applied) or not outcome.value:
            raise RequestError(500, CHANGED)
        if isinstance(command, SetCA) and root is not None:
            self._stats.rotations += 1
            before = found.active.id if found.active is not None else "none"
            log.warning("root rotated from=%s to=%s", before, root.public.id)

    async def _wanted_root(
        self, wish: CAWish, wanted: CASettings, found: Standing
    ) -> ca.Root | None:
        """The root that takes the place of the active one, None to leave that."""
        if found.active is None or found.provider is None:
            another = not wanted.external_signer
        else:
            another = wish.rotate or roots.wants_another(wanted, found.active, found.provider)
        if not another:
            return None
        return await self._new_root(wanted, found.provider, found.config.cluster_id)

    async def _cross_signed(self, root: ca.Root, old: CAProviderState, *, force: bool) -> str:
        serial, _ = await next_serials(self._backend, 1)
        try:
            return roots.cross_sign(root, old, serial=serial, now=self._now())
        except RequestError as error:
            if not force:
                raise
            log.warning("rotating without cross-signing reason=%s", error.text)
            return ""

    async def keep_roots(self) -> None:
        """Leader's duty: drop roots that no leaf stands on any more, and watch the active one."""
        while True:
            try:
                await self.prune()
            except (AgentError, StoreError) as error:
                log.info("roots not looked at error=%s", error)
            await asyncio.sleep(PRUNE_INTERVAL_S)

    async def prune(self) -> None:
        """Drop the roots that were replaced longer ago than any leaf of theirs can live."""
        known = await self._backend.ask(GetCARoots())
        provider = (await self._backend.ask(GetCAProvider())).value
        stored = (await self._backend.ask(GetCAConfig())).value
        if stored is None or provider is None:
            return
        now, ttl_s = self._now(), settings.read(stored.config).leaf_ttl_s
        await self._forget_revocations(now.timestamp())
        self._watch_end(known.value.roots, now)
        self._watch_intermediate(provider, now)
        seals = self._seal.wants(provider.private_key)
        self._stats.clear_key_current = int(not self._seal.key)
        kept, _ = roots.pruned(known.value.roots, leaf_ttl_s=ttl_s, now=now)
        if len(kept) == len(known.value.roots) and not seals:
            return
        if seals:
            provider = standing.kept(provider, self._seal)
        command = SetCA(cas=known.index, config=stored, roots=kept, provider=provider)
        outcome = await self._backend.change(command)
        if isinstance(outcome, Applied) and outcome.value:
            self._stats.pruned += len(known.value.roots) - len(kept)
            log.info(
                "old roots dropped count=%d sealed=%s", len(known.value.roots) - len(kept), seals
            )

    async def _forget_revocations(self, now: float) -> None:
        """Certificates that have ended need not be denied any more."""
        listed = (await self._backend.ask(ListRevocations())).value
        over = tuple(each.id for each in listed if each.expires_at <= now)
        if over:
            await self._backend.change(DropRevocations(over))
            log.info("revocations of ended certificates dropped count=%d", len(over))

    def _watch_end(self, found: tuple[CARoot, ...], now: datetime) -> None:
        for root in found:
            if root.active:
                end = datetime.fromisoformat(root.not_after)
                self._stats.active_root_left_s = max(0.0, (end - now).total_seconds())
                if self._stats.active_root_left_s < EXPIRY_WARNING_S:
                    log.warning("the active root ends soon root=%s end=%s", root.id, root.not_after)

    def _watch_intermediate(self, provider: CAProviderState, now: datetime) -> None:
        if not provider.signing_chain:
            self._stats.intermediate_left_s = 0.0
            return
        signing = ca.signing_certificate(provider)
        left = signing.not_valid_after_utc - now
        self._stats.intermediate_left_s = max(0.0, left.total_seconds())
        if now > intermediates.half_life_at(signing):
            log.warning("the intermediate is past half of its life end=%s: have another signed "
                        "(connect ca csr)", rfc3339(signing.not_valid_after_utc))  # fmt: skip

    # Leaves

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
        trust_domain, current = await self._limits()
        if not trust_domain:
            raise RequestError(500, NOT_READY)
        request = ca.read_csr(csr_pem, trust_domain=trust_domain, datacenter=self._datacenter)
        if current.csr_max_per_second or not current.csr_max_concurrent:
            await self._take_turn(current.csr_max_per_second)
            return await self._issuing.issue(request)
        await self._take_place(current.csr_max_concurrent)
        try:
            return await self._issuing.issue(request)
        finally:
            self._places.release()

    async def _limits(self) -> tuple[str, CASettings]:
        """The trust domain, "" before there is a root, and how fast may be signed.

        As this server has them: the one never changes, the other is no promise. What a leaf is
        made of is read behind its serial number.
        """
        known = self._backend.peek(GetCARoots())
        stored = self._backend.peek(GetCAConfig())
        if known is None or stored is None or not known.value.roots:
            known = await self._backend.ask(GetCARoots())
            stored = await self._backend.ask(GetCAConfig())
        domain = known.value.trust_domain if known.value.roots else ""
        return domain, self._issuing.settings(stored.value) or self._settings

    async def _take_turn(self, rate: float) -> None:
        if rate != self._bucket.rate:
            self._bucket = TokenBucket(rate)
        now = asyncio.get_running_loop().time()
        wait_s = self._bucket.take(now=now, wait_max_s=RATE_WAIT_MAX_S)
        if wait_s is None:
            raise RequestError(429, RATE_LIMITED)
        if wait_s:
            await asyncio.sleep(wait_s)

    async def _take_place(self, places: int) -> None:
        if places != self._places_max:
            self._places, self._places_max = asyncio.Semaphore(places), places
        try:
            async with asyncio.timeout(RATE_WAIT_MAX_S):
                await self._places.acquire()
        except TimeoutError:
            raise RequestError(429, RATE_LIMITED) from None

    async def close(self) -> None:
        """Sign no more."""
        await self._issuing.close()


def _warn_of_long_lives(wanted: CASettings) -> None:
    if wanted.leaf_ttl_s > settings.LEAF_LONG_S:
        log.warning("leaves live for more than 30 days days=%.0f", wanted.leaf_ttl_s / 86_400)
