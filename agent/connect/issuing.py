"""Leaves signed in batches: those that wait while a batch is under way share the next one.

What a leaf wants of the replicated state is the same for all of them: a serial number that a quorum
has kept, and behind that the signing key as it stands then, so that nobody gets a leaf of a root
that was replaced meanwhile. A batch takes one entry of the log and one confirmed read, however many
leaves are in it; one that comes alone waits for nobody.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from agent.backend import Ask, Backend, Consistency, SignedLeaf
from agent.backend.authority import NOT_READY
from agent.connect import ca, serials, settings
from agent.connect.ca import LeafRequest, Signer
from agent.connect.ingress import KIND as INGRESS
from agent.connect.ingress_names import dns_names
from agent.connect.sealing import Seal
from agent.connect.settings import CASettings
from agent.errors import AgentError, NoClusterLeader, RequestError
from agent.tasks import TaskOwner
from proxy.spiffe import Kind, SpiffeId
from raftstore.commands import SERIALS_MAX, Applied, NextSerial
from raftstore.definition_queries import ListConfigEntries
from raftstore.errors import StoreError
from raftstore.queries import GetCAConfig, GetCAProvider
from raftstore.records import CAConfig, CAProviderState
from raftstore.slices import in_slices

#: Leaves of one batch: a quarter of a second's work for a key that signs slowly.
BATCH_MAX = 256
assert BATCH_MAX <= SERIALS_MAX


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    request: LeafRequest
    done: asyncio.Future[SignedLeaf]


async def next_serials(backend: Backend, count: int) -> tuple[int, int]:
    """The first of so many fresh counter values, and the index at which they were given.

    Raises RequestError, and StoreError as changes do.
    """
    outcome = await backend.change(NextSerial(count=count))
    if not isinstance(outcome, Applied):
        raise RequestError(500, outcome.reason)
    return int(outcome.value), outcome.index


class Issuing:
    """Signs what has been checked and has had its turn."""

    def __init__(
        self,
        backend: Backend,
        seal: Seal,
        now: Callable[[], datetime],
        *,
        datacenter: str = "dc1",
        domains: tuple[str, ...] = (),
    ) -> None:
        self._backend = backend
        self._datacenter = datacenter
        self._domains = domains
        self._seal = seal
        self._now = now
        self._waiting: list[_Waiting] = []
        self._under_way = self._closed = False
        self._owner = TaskOwner()
        # What was read of the records in force, which are the same values until they change.
        self._signer: tuple[CAProviderState, Signer] | None = None
        self._settings: tuple[CAConfig, CASettings] | None = None

    async def issue(self, request: LeafRequest) -> SignedLeaf:
        """A leaf. Raises RequestError, StoreError and ForwardError."""
        if self._closed:
            raise NoClusterLeader
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if not self._under_way:
            self._under_way = True
            self._owner.spawn(self._run(), name="leaves signed")
        return await waiting.done

    def settings(self, stored: CAConfig | None) -> CASettings | None:
        """The settings of a record, read once; None for none. Raises RequestError."""
        if stored is None:
            return None
        if self._settings is None or self._settings[0] is not stored:
            self._settings = stored, settings.read(stored.config)
        return self._settings[1]

    async def close(self) -> None:
        """Sign no more; who waits is told so."""
        self._closed = True
        await self._owner.close()
        _fail(self._waiting, NoClusterLeader())  # of a batch that had not begun

    async def _run(self) -> None:
        batch: list[_Waiting] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                # Somebody who has gone needs no number.
                batch = [each for each in batch if not each.done.done()]
                if batch:
                    await self._sign(batch)
        finally:
            self._under_way = False
            _fail(batch + self._waiting, NoClusterLeader())  # none is left but when we stop
            self._waiting = []

    async def _sign(self, batch: list[_Waiting]) -> None:
        try:
            first, index = await next_serials(self._backend, len(batch))
            # Read behind the numbers, and the second as of the first.
            found = (await self._backend.ask(GetCAProvider())).value
            stale = Ask(consistency=Consistency.STALE)
            current = self.settings((await self._backend.ask(GetCAConfig(), stale)).value)
            if found is None or current is None:
                raise RequestError(500, NOT_READY)
            signer = self._opened(found)
            gateways = (await self._backend.ask(ListConfigEntries(INGRESS), stale)).value
        except (AgentError, StoreError) as error:
            _fail(batch, error)
            return
        hosts = {each.name: each.content for each in gateways}
        await in_slices(self._signed(batch, signer, current, first, index, hosts))

    def _signed(
        self,
        batch: list[_Waiting],
        signer: Signer,
        current: CASettings,
        first: int,
        index: int,
        hosts: Mapping[str, object],
    ) -> Generator[None, None, None]:
        for number, each in enumerate(batch, first):
            yield
            if each.done.done():
                continue
            try:
                signed = ca.sign_leaf(
                    each.request,
                    signer=signer,
                    serial=serials.compose_serial(secrets.randbits(64), number),
                    ttl_s=current.leaf_ttl_s,
                    now=self._now(),
                    dns_names=self._names_of(each.request.identity, hosts),
                )
            except Exception as error:  # of this request: the others are signed all the same
                each.done.set_exception(error)
                continue
            each.done.set_result(
                SignedLeaf(
                    cert_pem=signed.cert_pem,
                    serial_number=signed.serial_number,
                    index=index,
                    per_second=current.csr_max_per_second,
                )
            )

    def _names_of(self, identity: SpiffeId, hosts: Mapping[str, object]) -> tuple[str, ...]:
        """What a gateway's own config entry says; ``hosts`` are those of all gateways."""
        if identity.kind is not Kind.SERVICE or identity.name not in hosts:
            return ()
        entry = hosts[identity.name]
        return dns_names(entry, domains=self._domains, datacenter=self._datacenter)

    def _opened(self, kept: CAProviderState) -> Signer:
        """What signs, read once from each record. Raises RequestError where it cannot be opened."""
        if self._signer is None or self._signer[0] is not kept:
            opened = replace(kept, private_key=self._seal.open(kept.private_key))
            self._signer = kept, ca.signer_of(opened)
        return self._signer[1]


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for each in batch:
        if not each.done.done():
            each.done.set_exception(error)
