"""Leaf certificates of this host's services: made on demand, kept in memory, renewed in time.

One task per service keeps its leaf fresh, which makes concurrent askers share one signing request.
When to renew is decided by `renewal`, what a certificate holds by the leader. Keys never leave this
process except to whoever asks for the leaf.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from agent.backend import Ask, Backend, Consistency, SignedLeaf
from agent.backend.acting import ACTING
from agent.backend.authority import NOT_READY, RATE_LIMITED
from agent.connect.ingress import KIND as INGRESS
from agent.connect.ingress_names import dns_names
from agent.connect.renewal import Retry, renew_at, root_spread_s
from agent.connect.serials import colons
from agent.dates import rfc3339
from agent.errors import AgentError, RequestError
from agent.local import leaf_health
from agent.local.leaf_health import LeafStanding
from agent.tasks import TaskOwner
from proxy.revocations import NONE
from proxy.spiffe import SpiffeId
from raftstore.catalog_queries import CountServices
from raftstore.definition_queries import ListConfigEntries
from raftstore.errors import StoreError
from raftstore.queries import CARootsAnswer, GetCARoots
from raftstore.records import Check, CheckId, Service, ServiceId
from raftstore.revocations import ListRevocations

if TYPE_CHECKING:
    from proxy.certificate import PeerCertificate

log = logging.getLogger("lictor.agent.connect.leaves")

#: A leaf nobody asked for is dropped after this time (reference, contract A.5).
UNUSED_MAX_S = 72 * 3600.0
#: Never two certificates for one service faster than this, whatever their life is.
PAUSE_MIN_S = 1.0
#: How often the leaves are looked at for one that has ended.
HEALTH_S = 5.0
_ROOTS_WAIT_S = 300.0
#: How fast leaves are signed, as long as no server has told.
CSR_MAX_PER_SECOND = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A leaf certificate with its key. Times are RFC 3339 text in UTC."""

    serial_number: str
    cert_pem: str
    private_key_pem: str = field(repr=False)
    service: str
    service_uri: str
    valid_after: str
    valid_before: str
    create_index: int
    modify_index: int


@dataclass(slots=True)
class LeafStats:
    """Counters since start, what is held, and seconds until the first of it ends."""

    held: int = 0
    issued: int = 0
    failed: int = 0
    failing_current: int = 0
    ends_first_left_s: float = 0.0


@dataclass(slots=True)
class _Issued:
    leaf: Leaf
    valid_after_at: float
    valid_before_at: float
    signer_key_id: str
    certificate: PeerCertificate
    dns_names: frozenset[str] = frozenset()


class _Entry:
    """One service's leaf and the task that keeps it fresh."""

    __slots__ = ("acting", "asked_at", "changed", "error", "issued", "limited", "named", "task",
                 "wake")  # fmt: skip

    def __init__(self, asked_at: float) -> None:
        self.asked_at = asked_at
        #: With whose token the leaf is asked for: that of who asked last.
        self.acting: str | None = None
        self.issued: _Issued | None = None
        #: The DNS names for which a leaf was asked for last, whatever it came with.
        self.named: frozenset[str] = frozenset()
        self.error: Exception | None = None
        self.limited = False  # the leader is busy: nobody may hurry the next attempt
        self.changed = asyncio.Event()  # replaced at each change: waiters hold the old one
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def publish(self) -> None:
        """Wake everybody who waits for a change."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class Local(Protocol):
    """What runs on this host."""

    def services(self) -> Mapping[ServiceId, Service]: ...
    def checks(self) -> Mapping[CheckId, Check]: ...
    async def set_leaf_health(self, proxy_id: ServiceId, reason: str) -> None: ...


class LeafCache:
    """Gives leaf certificates; see `leaf`."""

    def __init__(
        self,
        backend: Backend,
        *,
        datacenter: str,
        rng: random.Random | None = None,
        domains: tuple[str, ...] = (),
        leaves_max: int = 4096,
    ) -> None:
        self._backend = backend
        self._leaves_max = leaves_max
        self._datacenter = datacenter
        self._domains = domains
        self._rng = rng or random.Random()
        self._entries: dict[str, _Entry] = {}
        self._roots: CARootsAnswer | None = None
        self._revoked = NONE
        self._owner = TaskOwner()
        self._watching = False
        self._per_second = CSR_MAX_PER_SECOND
        self._stats = LeafStats()

    def stats(self) -> LeafStats:
        """The counters as they stand."""
        self._stats.held = len(self._entries)
        ends = [standing.ends_at for standing in self.standings().values()]
        self._stats.failing_current = sum(1 for entry in self._entries.values() if entry.error)
        self._stats.ends_first_left_s = min(ends) - time.time() if ends else 0.0
        return self._stats

    def standings(self) -> dict[str, LeafStanding]:
        """For each service with a leaf when it ends, and why it could not be renewed."""
        return {
            service: LeafStanding(entry.issued.valid_before_at, str(entry.error or ""))
            for service, entry in self._entries.items()
            if entry.issued is not None
        }

    async def tell_health(self, local: Local) -> None:
        """Have a proxy whose leaf has ended out of use until there is a new one; runs for ever."""
        while True:
            await asyncio.sleep(HEALTH_S)
            services = local.services().values()
            bad = leaf_health.wanted(services, self.standings(), time.time())
            for proxy_id in leaf_health.told(local.checks().values()) | bad.keys():
                await local.set_leaf_health(proxy_id, bad.get(proxy_id, ""))

    async def leaf(self, service: str, *, min_index: int = 0, wait_s: float = 0.0) -> Leaf:
        """The leaf of a service, made when there is none.

        With ``min_index`` the answer is held until its modify index is greater or ``wait_s`` has
        passed. Raises RequestError, StoreError or ForwardError when none can be had.
        """
        if not service:
            raise RequestError(500, "URI must be either service or agent")
        self._watch()
        entry = self._entry(service)
        deadline = asyncio.get_running_loop().time() + wait_s
        while True:
            changed, issued = entry.changed, entry.issued
            alive = issued is not None and issued.valid_before_at > time.time()
            if issued is not None and alive:
                left_s = deadline - asyncio.get_running_loop().time()
                if issued.leaf.modify_index > min_index or left_s <= 0:
                    return issued.leaf
                try:
                    async with asyncio.timeout(left_s):
                        await changed.wait()
                except TimeoutError:
                    return issued.leaf
            elif entry.limited and entry.error is not None:
                raise entry.error
            else:
                entry.wake.set()
                await changed.wait()
                if entry.issued is issued and entry.error is not None:
                    raise entry.error

    async def renew(self, service: str) -> Leaf:
        """Force a new leaf (an addition to Consul's API). Errors as `leaf`."""
        old = await self.leaf(service)
        self._entries[service].wake.set()
        return await self.leaf(service, min_index=old.modify_index, wait_s=10.0)

    async def close(self) -> None:
        """Forget everything."""
        await self._owner.close()
        self._entries.clear()

    # One service.

    def _entry(self, service: str) -> _Entry:
        now = time.monotonic()
        entry = self._entries.get(service)
        if entry is not None and entry.task is not None and not entry.task.done():
            entry.asked_at, entry.acting = now, ACTING.get()
            return entry
        if len(self._entries) >= self._leaves_max:
            oldest = min(self._entries, key=lambda name: self._entries[name].asked_at)
            self._drop(oldest)
        entry = self._entries[service] = _Entry(now)
        entry.acting = ACTING.get()
        entry.task = self._owner.spawn(self._keep(service, entry), name=f"leaf {service}")
        return entry

    def _drop(self, service: str) -> None:
        entry = self._entries.pop(service)
        if entry.task is not None:
            entry.task.cancel()
        entry.error = RequestError(503, "too many leaf certificates on this agent")
        entry.issued = None
        entry.publish()

    async def _keep(self, service: str, entry: _Entry) -> None:
        retry = Retry(self._rng)
        while True:
            entry.wake.clear()
            try:
                ACTING.set(entry.acting)
                before = entry.issued
                entry.issued = await self._issue(service, before)
                if before is None:
                    entry.named = entry.issued.dns_names
            except (AgentError, StoreError) as error:
                self._stats.failed += 1
                entry.error = error
                entry.limited = isinstance(error, RequestError) and error.text == RATE_LIMITED
                entry.publish()
                await self._pause_after_failure(service, entry, retry)
                continue
            retry.succeeded()
            entry.error, entry.limited = None, False
            self._stats.issued += 1
            entry.publish()
            if self._is_of_old_root(entry.issued):
                self._renew_later(entry, 1)
            await asyncio.sleep(PAUSE_MIN_S)
            if self._revoked.why(entry.issued.certificate):
                continue  # it was signed in the very second up to which all are revoked
            if not await self._wait_for_renewal(service, entry):
                return

    async def _wait_for_renewal(self, service: str, entry: _Entry) -> bool:
        """Wait until it is time; False when nobody needs this leaf any more."""
        issued = entry.issued
        assert issued is not None
        due_at = renew_at(
            issued.valid_after_at, issued.valid_before_at, now=time.time(), rng=self._rng
        )
        while not entry.wake.is_set():
            if time.monotonic() - entry.asked_at > UNUSED_MAX_S:
                self._entries.pop(service, None)
                return False
            left_s = due_at - time.time()
            if left_s <= 0:
                break
            await self._sleep(entry, min(left_s, 3600.0))
        return True

    @staticmethod
    async def _sleep(entry: _Entry, seconds: float) -> None:
        if seconds <= 0:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await entry.wake.wait()

    async def _pause_after_failure(self, service: str, entry: _Entry, retry: Retry) -> None:
        pause_s = retry.limited_s(now=time.time()) if entry.limited else retry.failed_s()
        log.warning(
            "leaf not signed service=%s retry_s=%.1f error=%s", service, pause_s, entry.error
        )
        if entry.limited:
            await asyncio.sleep(pause_s)
            return
        # Whoever asks meanwhile hurries the next attempt, but not below the shortest pause.
        await asyncio.sleep(min(pause_s, PAUSE_MIN_S))
        await self._sleep(entry, pause_s - PAUSE_MIN_S)

    async def _issue(self, service: str, before: _Issued | None) -> _Issued:
        roots = self._roots
        if roots is None or not roots.trust_domain:
            roots = (await self._backend.ask(GetCARoots())).value
        if not roots.trust_domain:
            raise RequestError(500, NOT_READY)
        identity = SpiffeId.service(roots.trust_domain, self._datacenter, service)
        loop = asyncio.get_running_loop()
        key_pem, csr_pem = await loop.run_in_executor(None, _new_request, identity)
        signed = await self._backend.sign_leaf(csr_pem)
        self._per_second = signed.per_second
        return _read(signed, service, identity, key_pem, before)

    # Root changes.

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self._owner.spawn(self._watch_roots(), name="leaf roots")
            self._owner.spawn(self._watch_revocations(), name="leaf revocations")
            self._owner.spawn(self._watch_hosts(), name="hosts of gateways")

    async def _watch_roots(self) -> None:
        ACTING.set(None)  # whoever asked first: this is the agent's own work
        retry, index = Retry(self._rng), 0
        while True:
            try:
                reply = await self._backend.ask(
                    GetCARoots(),
                    Ask(consistency=Consistency.STALE, min_index=index, wait_s=_ROOTS_WAIT_S),
                )
            except (AgentError, StoreError) as error:
                pause_s = retry.failed_s()
                log.info("roots not known retry_s=%.1f error=%s", pause_s, error)
                await asyncio.sleep(pause_s)
                continue
            retry.succeeded()
            if reply.index < index:  # another history: begin again
                index = 0
                continue
            index = reply.index
            self._roots = reply.value
            await self._renew_foreign(reply.value)
            if not reply.value.roots:
                await asyncio.sleep(PAUSE_MIN_S)

    async def _watch_revocations(self) -> None:
        """A leaf of ours that was revoked is replaced at once: nobody talks to its holder."""
        ACTING.set(None)
        retry, index = Retry(self._rng), 0
        while True:
            options = Ask(consistency=Consistency.STALE, min_index=index, wait_s=_ROOTS_WAIT_S)
            try:
                reply = await self._backend.ask(ListRevocations(), options)
            except (AgentError, StoreError) as error:
                log.debug("revocations not known error=%s", error)
                await asyncio.sleep(retry.failed_s())
                continue
            retry.succeeded()
            index = reply.index if reply.index >= index else 0
            from agent.connect import revoking  # as below; a leaf was made before this

            self._revoked = revoking.in_force(reply.value)
            for service, entry in self._entries.items():
                why = self._revoked.why(entry.issued.certificate) if entry.issued else ""
                if why:
                    log.warning("leaf is replaced service=%s reason=%s", service, why)
                    entry.wake.set()

    async def _watch_hosts(self) -> None:
        """The leaf of an ingress gateway holds its hosts: other hosts, another leaf."""
        ACTING.set(None)
        retry, index = Retry(self._rng), 0
        while True:
            options = Ask(consistency=Consistency.STALE, min_index=index, wait_s=_ROOTS_WAIT_S)
            try:
                reply = await self._backend.ask(ListConfigEntries(INGRESS), options)
            except (AgentError, StoreError) as error:
                log.debug("hosts of gateways not known error=%s", error)
                await asyncio.sleep(retry.failed_s())
                continue
            retry.succeeded()
            index = reply.index if reply.index >= index else 0
            gateways = {each.name: each.content for each in reply.value}
            for service, entry in self._entries.items():
                if entry.issued is not None:
                    self._name(entry, entry.issued, gateways.get(service))

    def _name(self, entry: _Entry, issued: _Issued, gateway: object) -> None:
        found = dns_names(gateway, domains=self._domains, datacenter=self._datacenter)
        names = frozenset(found)
        if names == entry.named:
            return
        entry.named = names  # asked for once, whatever a server of another version signs
        if names != issued.dns_names:
            entry.wake.set()

    async def _renew_foreign(self, roots: CARootsAnswer) -> None:
        """Renew what the active root did not sign, spread over the time that all leaves of the
        cluster need (contract A.7)."""
        signer = next((root.signing_key_id for root in roots.roots if root.active), None)
        if signer is None:
            return
        foreign = [
            entry
            for entry in self._entries.values()
            if entry.issued is not None and entry.issued.signer_key_id != signer
        ]
        if not foreign:
            return
        count = await self._leaves_of_all(len(foreign))
        for entry in foreign:
            self._renew_later(entry, count)

    def _is_of_old_root(self, issued: _Issued) -> bool:
        """Whether a leaf that has just come was signed before a root that we know already."""
        known = self._roots.roots if self._roots is not None else ()
        return any(
            root.signing_key_id == issued.signer_key_id and not root.active for root in known
        )

    def _renew_later(self, entry: _Entry, leaves: int) -> None:
        spread_s = root_spread_s(leaves, self._per_second)
        loop = asyncio.get_running_loop()
        loop.call_later(self._rng.uniform(0.0, spread_s), entry.wake.set)

    async def _leaves_of_all(self, own: int) -> int:
        """How many leaves the cluster has, as far as a server can be asked."""
        try:
            options = Ask(consistency=Consistency.STALE)
            found = (await self._backend.ask(CountServices(), options)).value
        except (AgentError, StoreError) as error:
            log.debug("services not counted error=%s", error)
            return own
        return max(own, found.native + found.kinds.get("connect-proxy", 0))


# The library that makes certificates takes 9 MB and 40 ms: it comes with the first leaf, on the
# thread that makes its key, and an agent without services of the mesh never needs it.
def _new_request(identity: SpiffeId) -> tuple[str, str]:
    from agent.connect import ca

    key = ca.generate_key()
    return ca.key_pem(key), ca.make_csr(key, identity)


def _read(
    signed: SignedLeaf, service: str, identity: SpiffeId, key_pem: str, before: _Issued | None
) -> _Issued:
    from cryptography import x509

    from proxy.certificate import PeerCertificate

    certificate = x509.load_pem_x509_certificate(signed.cert_pem.encode())
    signer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    valid_after, valid_before = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    leaf = Leaf(
        serial_number=signed.serial_number,
        cert_pem=signed.cert_pem,
        private_key_pem=key_pem,
        service=service,
        service_uri=identity.uri,
        valid_after=_text(valid_after),
        valid_before=_text(valid_before),
        create_index=before.leaf.create_index if before else signed.index,
        modify_index=signed.index,
    )
    return _Issued(
        leaf=leaf,
        valid_after_at=valid_after.timestamp(),
        valid_before_at=valid_before.timestamp(),
        signer_key_id=colons(signer.key_identifier or b""),
        certificate=PeerCertificate(
            identity=identity,
            serial_number=certificate.serial_number,
            not_after_at=valid_before.timestamp(),
            not_before_at=valid_after.timestamp(),
        ),
        dns_names=frozenset(names.get_values_for_type(x509.DNSName)),
    )


def _text(moment: datetime) -> str:
    return rfc3339(moment.astimezone(UTC))
