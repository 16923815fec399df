"""The authority over the real state machine."""

from __future__ import annotations

import asyncio

import pytest
from cryptography import x509

from agent.connect import ca
from agent.connect.authority import NOT_READY, RATE_LIMITED, Authority
from agent.errors import RequestError
from proxy.spiffe import SpiffeId
from raftstore.queries import GetCAConfig, GetCAProvider, GetCARoots
from tests.agent.connect.cluster import StateBackend


def csr(trust_domain: str, name: str = "web") -> str:
    return ca.make_csr(ca.generate_key(), SpiffeId.service(trust_domain, "dc1", name))


async def trust_domain(backend: StateBackend) -> str:
    return (await backend.ask(GetCARoots())).value.trust_domain


async def test_the_leader_makes_one_root_and_repeating_changes_nothing() -> None:
    backend = StateBackend()
    authority = Authority(backend, datacenter="dc1", config={})
    await authority.ensure_root()
    first = (await backend.ask(GetCARoots())).value
    await authority.ensure_root()
    await Authority(backend, datacenter="dc1", config={}).ensure_root()
    again = (await backend.ask(GetCARoots())).value
    assert again == first
    [root] = first.roots
    assert root.active
    assert first.trust_domain == f"{root.external_trust_domain}.consul"
    config = (await backend.ask(GetCAConfig())).value
    assert config is not None
    assert dict(config.config) == {"IntermediateCertTTL": "8760h", "LeafCertTTL": "72h"}
    provider = (await backend.ask(GetCAProvider())).value
    assert provider is not None
    assert provider.root_id == root.id
    assert root.serial_number >= 1


async def test_two_leaders_at_once_leave_one_root() -> None:
    backend = StateBackend()
    both = [Authority(backend, datacenter="dc1", config={}) for _ in range(2)]
    await asyncio.gather(*(each.ensure_root() for each in both))
    assert len((await backend.ask(GetCARoots())).value.roots) == 1


async def test_a_fixed_cluster_id_becomes_the_trust_domain() -> None:
    backend = StateBackend()
    cluster_id = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
    config = {"cluster_id": cluster_id, "leaf_cert_ttl": "24h"}
    await Authority(backend, datacenter="dc1", config=config).ensure_root()
    assert await trust_domain(backend) == f"{cluster_id}.consul"
    stored = (await backend.ask(GetCAConfig())).value
    assert stored is not None
    assert stored.config["LeafCertTTL"] == "24h"


async def test_leaves_verify_against_the_root_and_serials_differ() -> None:
    backend = StateBackend()
    authority = Authority(backend, datacenter="dc1", config={"LeafCertTTL": "2h"})
    await authority.ensure_root()
    roots = (await backend.ask(GetCARoots())).value
    root = x509.load_pem_x509_certificate(roots.roots[0].root_cert.encode())
    leaves = [await authority.sign_leaf(csr(roots.trust_domain)) for _ in range(5)]
    for leaf in leaves:
        cert = x509.load_pem_x509_certificate(leaf.cert_pem.encode())
        cert.verify_directly_issued_by(root)
        life = cert.not_valid_after_utc - cert.not_valid_before_utc
        assert life.total_seconds() == 2 * 3600 + 60
    assert len({leaf.serial_number for leaf in leaves}) == 5
    assert sorted({leaf.index for leaf in leaves}) == [leaf.index for leaf in leaves]
    assert authority.stats().signed == 5


async def test_without_a_root_nothing_is_signed() -> None:
    authority = Authority(StateBackend(), datacenter="dc1", config={})
    with pytest.raises(RequestError) as caught:
        await authority.sign_leaf(csr("x.consul"))
    assert caught.value.text == NOT_READY


async def test_a_refused_request_takes_no_serial() -> None:
    backend = StateBackend()
    authority = Authority(backend, datacenter="dc1", config={})
    await authority.ensure_root()
    before = backend.index
    with pytest.raises(RequestError) as caught:
        await authority.sign_leaf(csr("other.consul"))
    assert caught.value.status == 400
    assert backend.index == before
    assert authority.stats().refused == 1


async def test_signing_faster_than_allowed_is_refused_and_counted() -> None:
    backend = StateBackend()
    authority = Authority(backend, datacenter="dc1", config={"CSRMaxPerSecond": 1})
    await authority.ensure_root()
    request = csr(await trust_domain(backend))
    await authority.sign_leaf(request)
    with pytest.raises(RequestError) as caught:
        await authority.sign_leaf(request)
    assert (caught.value.status, caught.value.text) == (429, RATE_LIMITED)
    assert authority.stats().limited == 1
