"""The leaf cache over the real state machine and authority."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from agent.backend import SignedLeaf
from agent.backend.acting import ACTING
from agent.backend.authority import CAWish
from agent.connect import ca, leaves, serials
from agent.connect.authority import RATE_LIMITED, Authority
from agent.connect.leaves import LeafCache
from agent.dates import rfc3339
from agent.errors import RequestError
from agent.local.leaf_health import LeafStanding, leaf_check
from raftstore.commands import NextSerial, Register, SetCA
from raftstore.definition_commands import DeleteConfigEntry, SetConfigEntry
from raftstore.definitions import ConfigEntry
from raftstore.errors import NoLeader
from raftstore.queries import GetCAConfig, GetCARoots
from raftstore.records import (
    Check,
    CheckId,
    Node,
    NodeName,
    Proxy,
    Service,
    ServiceId,
    ServiceName,
)
from tests.agent.connect.cluster import StateBackend


@pytest.fixture
async def backend() -> StateBackend:
    made = StateBackend()
    authority = Authority(made, datacenter="dc1", config={})
    await authority.ensure_root()
    made.signer = authority.sign_leaf
    return made


@pytest.fixture
async def cache(backend: StateBackend, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LeafCache]:
    monkeypatch.setattr(leaves, "PAUSE_MIN_S", 0.01)
    made = LeafCache(backend, datacenter="dc1", rng=random.Random(1))
    yield made
    await made.close()


async def test_a_leaf_comes_with_its_key_and_says_whose_it_is(
    backend: StateBackend, cache: LeafCache
) -> None:
    leaf = await cache.leaf("web")
    cert = x509.load_pem_x509_certificate(leaf.cert_pem.encode())
    key = serialization.load_pem_private_key(leaf.private_key_pem.encode(), None)
    assert cert.public_key() == key.public_key()
    assert leaf.private_key_pem.startswith("-----BEGIN EC PRIVATE KEY-----")
    trust_domain = (await backend.ask(GetCARoots())).value.trust_domain
    assert leaf.service_uri == f"spiffe://{trust_domain}/ns/default/dc/dc1/svc/web"
    assert leaf.serial_number == serials.serial_hex(cert.serial_number)
    assert leaf.valid_before == rfc3339(cert.not_valid_after_utc)
    assert "PRIVATE" not in repr(leaf)


async def test_askers_at_once_share_one_request_and_later_ones_the_answer(
    backend: StateBackend, cache: LeafCache
) -> None:
    answers = await asyncio.gather(*(cache.leaf("web") for _ in range(20)))
    assert backend.signed == 1
    assert {answer.serial_number for answer in answers} == {answers[0].serial_number}
    assert await cache.leaf("web") == answers[0]
    other = await cache.leaf("api")
    assert backend.signed == 2
    assert other.service == "api"


async def test_a_blocking_read_waits_its_time_and_wakes_on_a_new_leaf(
    backend: StateBackend, cache: LeafCache
) -> None:
    first = await cache.leaf("web")
    began = asyncio.get_running_loop().time()
    same = await cache.leaf("web", min_index=first.modify_index, wait_s=0.2)
    assert same == first
    assert asyncio.get_running_loop().time() - began >= 0.19
    waiting = asyncio.get_running_loop().create_task(
        cache.leaf("web", min_index=first.modify_index, wait_s=10.0)
    )
    renewed = await cache.renew("web")
    assert (await asyncio.wait_for(waiting, 5)) == renewed
    assert renewed.modify_index > first.modify_index
    assert renewed.create_index == first.create_index
    assert renewed.private_key_pem != first.private_key_pem


def names_in(leaf: leaves.Leaf) -> list[str]:
    """The DNS names of a leaf."""
    certificate = x509.load_pem_x509_certificate(leaf.cert_pem.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


async def test_other_hosts_of_a_gateway_are_another_leaf(backend: StateBackend) -> None:
    authority = Authority(backend, datacenter="dc1", config={}, domains=("consul",))
    backend.signer = authority.sign_leaf
    cache = LeafCache(backend, datacenter="dc1", rng=random.Random(1), domains=("consul",))
    http = ConfigEntry(kind="service-defaults", name="web", content={"Protocol": "http"})
    await backend.change(SetConfigEntry(http))
    try:
        first, other = await cache.leaf("door"), await cache.leaf("web")
        for host in ("a.example", "b.example"):
            service = {"Name": "web", "Hosts": [host]}
            listener = {"Port": 1, "Protocol": "http", "Services": [service]}
            content = {"TLS": {"Enabled": True}, "Listeners": [listener]}
            entry = ConfigEntry(kind="ingress-gateway", name="door", content=content)
            assert (await backend.change(SetConfigEntry(entry))).value is True
            second = await cache.leaf("door", min_index=first.modify_index, wait_s=20.0)
            assert host in names_in(second)
            first = second
        late = LeafCache(backend, datacenter="dc1", rng=random.Random(1), domains=("consul",))
        newcomer = await late.leaf("door")
        await backend.change(DeleteConfigEntry("ingress-gateway", "door"))
        fresh = await late.leaf("door", min_index=newcomer.modify_index, wait_s=20.0)
        assert "example" not in str(names_in(fresh)) and host in names_in(newcomer)
        await late.close()
        bare = await cache.leaf("door", min_index=first.modify_index, wait_s=20.0)
        assert "example" not in str(names_in(bare)), "no gateway any more, no hosts"
        assert await cache.leaf("web") == other
    finally:
        await cache.close()


async def test_renewals_are_spread_by_the_leaves_of_the_whole_cluster(
    backend: StateBackend, cache: LeafCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread: list[tuple[int, float]] = []
    monkeypatch.setattr(
        leaves, "root_spread_s", lambda count, rate: spread.append((count, rate)) or 0.0
    )
    for number in range(5):
        kind = "connect-proxy" if number < 3 else ""
        service = Service(
            node=NodeName("n1"),
            id=ServiceId(f"s{number}"),
            name=ServiceName(f"s{number}"),
            kind=kind,
            proxy=Proxy(destination_service_name=ServiceName("web")),
            connect_native=number == 3,
        )
        node = Node(name=NodeName("n1"), address="127.0.0.1")
        await backend.change(Register(node=node, service=service))
    authority = Authority(backend, datacenter="dc1", config={})
    await authority.configure(CAWish(config={"CSRMaxPerSecond": 7}))
    await cache.leaf("web")
    await authority.configure(CAWish(rotate=True))
    async with asyncio.timeout(10):
        while not spread:
            await asyncio.sleep(0.01)
    assert spread == [(4, 7.0)], "three sidecars and one native service, 7 leaves a second"


async def test_a_leaf_that_was_on_its_way_while_the_root_changed_is_replaced(
    backend: StateBackend, cache: LeafCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaves, "root_spread_s", lambda count, rate: 0.01)
    await cache.leaf("api")  # from now on roots are watched
    authority = Authority(backend, datacenter="dc1", config={})
    sign = backend.signer

    async def late(csr_pem: str) -> SignedLeaf:
        signed = await sign(csr_pem)
        backend.signer = sign
        await authority.configure(CAWish(rotate=True))
        async with asyncio.timeout(10):
            while len(cache._roots.roots) < 2:
                await asyncio.sleep(0)
        return signed

    backend.signer = late
    first = await cache.leaf("web")
    assert first.cert_pem.count("BEGIN") == 1, "of the root before"
    second = await cache.leaf("web", min_index=first.modify_index, wait_s=10.0)
    assert second.cert_pem.count("BEGIN") == 2, "with the new root, as the old one signed it"


async def test_a_leaf_is_renewed_with_the_token_of_who_asked_last(
    backend: StateBackend, cache: LeafCache
) -> None:
    seen: list[str | None] = []
    sign = backend.signer

    async def signer(csr_pem: str) -> SignedLeaf:
        seen.append(ACTING.get())
        return await sign(csr_pem)

    backend.signer = signer
    for secret in ("first", "second"):
        ACTING.set(secret)
        await cache.leaf("web")
    ACTING.set("third")
    await cache.renew("web")
    assert seen == ["first", "third"]


async def test_a_new_active_root_renews_every_leaf(
    backend: StateBackend, cache: LeafCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaves, "root_spread_s", lambda count, rate: 0.01)
    first = await cache.leaf("web")
    reply = await backend.ask(GetCARoots())
    config = (await backend.ask(GetCAConfig())).value
    assert config is not None
    [old] = reply.value.roots
    serial = await backend.change(NextSerial())
    root = ca.make_root(
        key=ca.generate_key(),
        cluster_id=config.cluster_id,
        serial=serial.value,  # type: ignore[union-attr]
        name_part="zzzzzzzz",
        now=datetime.now(UTC),
    )
    import dataclasses

    retired = dataclasses.replace(old, active=False, create_index=0, modify_index=0)
    outcome = await backend.change(
        SetCA(cas=reply.index, config=config, roots=(retired, root.public), provider=root.secret)
    )
    assert outcome.value is True  # type: ignore[union-attr]
    second = await cache.leaf("web", min_index=first.modify_index, wait_s=5.0)
    assert second.serial_number != first.serial_number
    cert = x509.load_pem_x509_certificate(second.cert_pem.encode())
    cert.verify_directly_issued_by(x509.load_pem_x509_certificate(root.public.root_cert.encode()))


async def test_without_a_leader_the_error_is_told_and_the_next_asker_gets_a_leaf(
    backend: StateBackend, cache: LeafCache
) -> None:
    backend.down = True
    with pytest.raises(NoLeader):
        await cache.leaf("web")
    backend.down = False
    leaf = await asyncio.wait_for(cache.leaf("web"), 5)
    assert leaf.service == "web"


async def test_a_held_leaf_outlives_a_lost_leader(backend: StateBackend, cache: LeafCache) -> None:
    leaf = await cache.leaf("web")
    backend.down = True
    assert await cache.leaf("web") == leaf


async def test_a_rate_limit_is_told_at_once_and_nobody_hurries_the_next_try(
    backend: StateBackend, cache: LeafCache
) -> None:
    async def limited(csr_pem: str) -> SignedLeaf:
        raise RequestError(429, RATE_LIMITED)

    backend.signer = limited
    for _ in range(20):
        with pytest.raises(RequestError, match=RATE_LIMITED):
            await asyncio.wait_for(cache.leaf("web"), 1)
    assert backend.signed == 1


async def test_an_expired_leaf_is_never_given_out(
    backend: StateBackend, cache: LeafCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = backend.signer
    assert good is not None
    first = await cache.leaf("web")
    entry = cache._entries["web"]
    assert entry.issued is not None
    entry.issued.valid_before_at = (datetime.now(UTC) - timedelta(seconds=1)).timestamp()
    second = await asyncio.wait_for(cache.leaf("web"), 5)
    assert second.serial_number != first.serial_number


async def test_the_cache_is_bounded_and_drops_who_asked_least_recently(
    cache: LeafCache,
) -> None:
    cache._leaves_max = 3
    for name in ("a", "b", "c", "a", "d"):
        await cache.leaf(name)
    assert set(cache._entries) == {"a", "c", "d"}


async def test_a_leaf_without_a_service_is_refused(cache: LeafCache) -> None:
    with pytest.raises(RequestError, match="URI must be either service or agent") as caught:
        await cache.leaf("")
    assert caught.value.status == 500


async def test_a_leaf_that_cannot_be_renewed_is_told(
    backend: StateBackend, cache: LeafCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache.stats().ends_first_left_s == 0.0
    leaf = await cache.leaf("web")
    ends_at = datetime.fromisoformat(leaf.valid_before).timestamp()
    assert cache.standings()["web"] == LeafStanding(ends_at)
    assert 71 * 3600 < cache.stats().ends_first_left_s < 73 * 3600

    async def refuse(csr_pem: str) -> SignedLeaf:
        raise NoLeader

    backend.signer = refuse
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(cache.renew("web"), 0.5)
    assert cache.standings()["web"] == LeafStanding(ends_at, str(NoLeader()))
    assert cache.stats().failing_current == 1


class FakeLocal:
    """One proxy of web, and what was said of its health."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def services(self) -> dict[ServiceId, Service]:
        proxy = Proxy(destination_service_name=ServiceName("web"))
        service_id = ServiceId("web-proxy")
        made = Service(
            node=NodeName("n"), id=service_id, name=ServiceName("web-proxy"), proxy=proxy
        )
        return {service_id: made}

    def checks(self) -> dict[CheckId, Check]:
        if not self.said or not self.said[-1][1]:
            return {}
        (service,) = self.services().values()
        check = leaf_check(NodeName("n"), service, "").record
        return {check.id: check}

    async def set_leaf_health(self, proxy_id: ServiceId, reason: str) -> None:
        self.said.append((proxy_id, reason))


async def test_a_proxy_of_an_ended_leaf_is_out_of_use_until_there_is_a_new_one(
    backend: StateBackend, cache: LeafCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaves, "HEALTH_S", 0.01)
    local = FakeLocal()
    await cache.leaf("web")
    task = asyncio.get_running_loop().create_task(cache.tell_health(local))
    await asyncio.sleep(0.05)
    assert local.said == []
    held = cache.standings
    monkeypatch.setattr(cache, "standings", lambda: {"web": LeafStanding(1.0, "No leader")})
    await asyncio.sleep(0.05)
    assert local.said[-1] == (
        "web-proxy", 'The leaf certificate of service "web" has expired: No leader'
    )  # fmt: skip
    monkeypatch.setattr(cache, "standings", held)
    await asyncio.sleep(0.05)
    assert local.said[-1] == ("web-proxy", "")
    count = len(local.said)
    await asyncio.sleep(0.05)
    assert len(local.said) == count
    task.cancel()
