"""Leaves signed in batches, over the real state machine."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509

from agent.backend import SignedLeaf
from agent.connect import ca
from agent.connect.authority import Authority
from agent.connect.issuing import BATCH_MAX, Issuing
from agent.connect.sealing import NO_SEAL
from agent.errors import NoClusterLeader
from proxy.spiffe import SpiffeId
from raftstore.commands import Command, NextSerial, Outcome
from raftstore.definition_commands import SetConfigEntry
from raftstore.definitions import ConfigEntry
from raftstore.errors import NoLeader
from raftstore.queries import GetCARoots
from raftstore.records import Actor
from tests.agent.connect.cluster import StateBackend

KEY = ca.generate_key()


class Counted(StateBackend):
    """Keeps what was taken of the log; ``gate`` holds the next entry."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def change(
        self, command: Command, *, actor: Actor | None = None, timeout_s: float | None = None
    ) -> Outcome:
        await self.gate.wait()
        if isinstance(command, NextSerial):
            self.taken.append(command.count)
        return await super().change(command, actor=actor, timeout_s=timeout_s)


async def made() -> tuple[Counted, Issuing, ca.LeafRequest]:
    backend = Counted()
    await Authority(backend, datacenter="dc1", config={}).ensure_root()
    backend.taken.clear()
    domain = (await backend.ask(GetCARoots())).value.trust_domain
    csr = ca.make_csr(KEY, SpiffeId.service(domain, "dc1", "web"))
    request = ca.read_csr(csr, trust_domain=domain, datacenter="dc1")
    return backend, Issuing(backend, NO_SEAL, lambda: datetime.now(UTC)), request


def waiting(issuing: Issuing, request: ca.LeafRequest) -> asyncio.Task[SignedLeaf]:
    return asyncio.get_running_loop().create_task(issuing.issue(request))


async def test_those_that_wait_share_one_entry_of_the_log() -> None:
    backend, issuing, request = await made()
    backend.gate.clear()
    first = waiting(issuing, request)
    await asyncio.sleep(0)  # its batch is on the way to the log
    others = [waiting(issuing, request) for _ in range(BATCH_MAX + 3)]
    await asyncio.sleep(0)
    backend.gate.set()
    leaves = await asyncio.gather(first, *others)
    assert backend.taken == [1, BATCH_MAX, 3]
    assert len({leaf.serial_number for leaf in leaves}) == BATCH_MAX + 4
    assert leaves[0].index < leaves[1].index < leaves[-1].index
    again = await issuing.issue(request)
    assert again.index > leaves[-1].index, "who waits for a later one is told of it"


async def test_who_has_gone_takes_no_number() -> None:
    backend, issuing, request = await made()
    backend.gate.clear()
    first = waiting(issuing, request)
    await asyncio.sleep(0)
    gone, stays = (waiting(issuing, request) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    backend.gate.set()
    await asyncio.gather(first, stays)
    assert backend.taken == [1, 1]
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_a_failure_is_told_to_all_and_the_next_are_signed() -> None:
    backend, issuing, request = await made()
    backend.down = True
    ended = await asyncio.gather(
        *(issuing.issue(request) for _ in range(3)), return_exceptions=True
    )
    assert [type(each) for each in ended] == [NoLeader] * 3
    backend.down = False
    assert (await issuing.issue(request)).cert_pem


async def test_one_that_cannot_be_signed_spoils_no_other() -> None:
    _, issuing, request = await made()
    broken = replace(request, public_key=object())
    ended = await asyncio.gather(
        issuing.issue(request), issuing.issue(broken), issuing.issue(request),
        return_exceptions=True,
    )  # fmt: skip
    assert [isinstance(each, Exception) for each in ended] == [False, True, False]


async def test_who_waits_when_the_server_stops_is_told() -> None:
    backend, issuing, request = await made()
    backend.gate.clear()
    two = [waiting(issuing, request) for _ in range(2)]
    await asyncio.sleep(0)
    await issuing.close()
    for each in (*two, waiting(issuing, request)):
        with pytest.raises(NoClusterLeader):
            await each


async def test_a_gateways_leaf_holds_the_hosts_of_its_entry_and_no_others_does() -> None:
    backend = Counted()
    authority = Authority(backend, datacenter="dc1", config={}, domains=("consul",))
    await authority.ensure_root()
    service = {"Name": "web", "Hosts": ["shop.example"]}
    listener = {"Port": 1, "Protocol": "http", "Services": [service]}
    content = {"TLS": {"Enabled": True}, "Listeners": [listener]}
    for entry in (
        ConfigEntry(kind="service-defaults", name="web", content={"Protocol": "http"}),
        ConfigEntry(kind="ingress-gateway", name="door", content=content),
    ):
        assert (await backend.change(SetConfigEntry(entry))).value is True
    domain = (await backend.ask(GetCARoots())).value.trust_domain

    async def held(service: str) -> list[str]:
        csr = ca.make_csr(KEY, SpiffeId.service(domain, "dc1", service))
        signed = await authority.sign_leaf(csr)
        leaf = x509.load_pem_x509_certificate(signed.cert_pem.encode())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.DNSName)

    assert await held("door") == ["*.ingress.consul", "*.ingress.dc1.consul", "shop.example"]
    assert await held("web") == []
