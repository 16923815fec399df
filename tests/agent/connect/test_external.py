"""The authority below a root whose key never enters the cluster, over the real state machine."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509

from agent.backend.authority import INSTALL_CA, REQUEST_CA, CAWish
from agent.backend.rpc import calls
from agent.connect.authority import EXTERNAL_ROTATE, NOT_READY, Authority
from agent.connect.external import NO_REQUEST, NOT_EXTERNAL
from agent.connect.sealing import Seal
from agent.errors import RequestError
from raftstore import wire
from raftstore.commands import SetCA
from raftstore.queries import GetCAConfig, GetCAProvider
from raftstore.records import CAConfig, CAProviderState
from raftstore.signing_requests import GetSigningRequest
from tests.agent.connect.cluster import StateBackend
from tests.agent.connect.keeper import Keeper
from tests.agent.connect.paths import verifies
from tests.agent.connect.test_rotation import Clock, csr, made, roots_of

EXTERNAL = CAWish(config={"ExternalSigner": True})


async def request(authority: Authority, *, fresh: bool = False) -> str:
    return (await authority.methods[REQUEST_CA](calls.pack(fresh), 1.0)).decode()


async def install(authority: Authority, bundle: str, *, force: bool = False) -> None:
    await authority.methods[INSTALL_CA](calls.pack(bundle, force), 1.0)


def signer_of(backend: StateBackend) -> CAProviderState:
    provider = backend.machine.ca.provider
    assert provider is not None
    return provider


async def pems(backend: StateBackend) -> list[str]:
    return [root.root_cert for root in (await roots_of(backend)).roots]


async def test_from_the_built_in_root_to_one_outside_and_its_next_intermediate() -> None:
    backend, authority, clock = await made(CSRMaxPerSecond=0)
    before = (await backend.sign_leaf(await csr(backend))).cert_pem
    [first] = await pems(backend)
    with pytest.raises(RequestError, match=NOT_EXTERNAL):
        await request(authority)
    await authority.configure(EXTERNAL)
    assert await pems(backend) == [first], "nothing changes until there is an intermediate"
    with pytest.raises(RequestError, match=NO_REQUEST):
        await install(authority, "")
    keeper = Keeper(clock.now)
    asked = await request(authority)
    await install(authority, keeper.intermediate(asked))
    [_, active] = (await roots_of(backend)).roots
    wire.encode_command(
        SetCA(cas=1, config=CAConfig(), roots=(active,), provider=signer_of(backend))
    )
    assert active.active and active.root_cert == keeper.chain()
    assert len(active.intermediate_certs) == 2, "our intermediate, and the cross-signed root"
    after = (await backend.sign_leaf(await csr(backend))).cert_pem
    for chain, trusted in ((before, [first, active.root_cert]), (after, [active.root_cert]),
                           (after, [first])):  # fmt: skip
        assert verifies(chain, trusted, clock.now)
    provider = (await backend.ask(GetCAProvider())).value
    assert provider is not None and provider.root_cert == keeper.chain()
    key = x509.load_pem_x509_certificate(provider.signing_chain.encode()).public_key()
    assert key != keeper.key.public_key(), "the root's key is not among what is replicated"
    with pytest.raises(RequestError, match=NO_REQUEST):
        await install(authority, keeper.intermediate(asked))
    await renewed(backend, authority, clock, keeper)


async def renewed(
    backend: StateBackend, authority: Authority, clock: Clock, keeper: Keeper
) -> None:
    """Another intermediate of the same root is no other root, and agents renew for it."""
    roots = (await roots_of(backend)).roots
    keeper.now = clock.now
    await install(authority, keeper.intermediate(await request(authority)))
    again = (await roots_of(backend)).roots
    assert [root.id for root in again] == [root.id for root in roots]
    assert again[-1].signing_key_id != roots[-1].signing_key_id
    assert again[-1].intermediate_certs[1:] == roots[-1].intermediate_certs[1:]
    chain = (await backend.sign_leaf(await csr(backend))).cert_pem
    assert verifies(chain, await pems(backend), clock.now)


async def test_the_way_back_has_no_cross_signed_root_and_says_so() -> None:
    backend, authority, clock = await made(CSRMaxPerSecond=0)
    await authority.configure(EXTERNAL)
    await install(authority, Keeper(clock.now).intermediate(await request(authority)))
    roots = (await roots_of(backend)).roots
    with pytest.raises(RequestError, match="kept elsewhere"):
        await authority.configure(CAWish(rotate=True))
    assert "-new" in EXTERNAL_ROTATE
    await authority.configure(CAWish(config={"LeafCertTTL": "24h"}))
    assert (await roots_of(backend)).roots == roots
    back = {"ExternalSigner": False}
    with pytest.raises(RequestError, match="ForceWithoutCrossSigning"):
        await authority.configure(CAWish(config=back))
    other = Keeper(clock.now, name="other")
    asked = await request(authority)
    with pytest.raises(RequestError, match="ForceWithoutCrossSigning"):
        await install(authority, other.intermediate(asked))
    assert (await roots_of(backend)).roots == roots
    await install(authority, other.intermediate(asked), force=True)
    await authority.configure(CAWish(config=back, force=True))
    found = (await roots_of(backend)).roots
    assert [root.active for root in found] == [False, False, False, True]
    assert found[-1].intermediate_certs == ()
    chain = (await backend.sign_leaf(await csr(backend))).cert_pem
    assert verifies(chain, [found[-1].root_cert], clock.now)


async def test_a_cluster_may_begin_without_a_root_and_another_leader_goes_on() -> None:
    backend, authority, clock = await made(ExternalSigner=True, CSRMaxPerSecond=0)
    config = (await backend.ask(GetCAConfig())).value
    assert config is not None and config.config["ExternalSigner"] is True
    assert (await roots_of(backend)).roots == ()
    with pytest.raises(RequestError, match=NOT_READY):
        await backend.sign_leaf(await csr(backend))
    asked = await request(authority)
    # Another server leads, with another file: what is replicated counts.
    other = Authority(backend, datacenter="dc1", config={}, now=clock)
    await other.ensure_root()
    assert (await roots_of(backend)).roots == ()
    keeper = Keeper(clock.now)
    await install(other, keeper.intermediate(asked))
    chain = (await other.sign_leaf(await csr(backend))).cert_pem
    assert verifies(chain, [keeper.chain()], clock.now)
    backend.machine.check()


async def test_it_may_be_built_in_after_all_before_anything_was_installed() -> None:
    backend, authority, clock = await made(ExternalSigner=True, CSRMaxPerSecond=0)
    await authority.configure(CAWish(config={"ExternalSigner": False}))
    chain = (await backend.sign_leaf(await csr(backend))).cert_pem
    assert verifies(chain, await pems(backend), clock.now)


async def test_one_request_is_open_until_another_is_wished_for() -> None:
    backend, authority, clock = await made(ExternalSigner=True, PrivateKeyBits=384)
    first, again = await request(authority), await request(authority)
    old = x509.load_pem_x509_csr(first.encode())
    assert old.public_key() == x509.load_pem_x509_csr(again.encode()).public_key()
    assert old.public_key().curve.key_size == 384  # type: ignore[union-attr]
    fresh = await request(authority, fresh=True)
    with pytest.raises(RequestError, match="open signing request"):
        await install(authority, Keeper(clock.now).intermediate(first))
    await install(authority, Keeper(clock.now).intermediate(fresh))
    assert (await backend.ask(GetSigningRequest())).value == ""


async def test_a_brought_key_and_an_external_signer_exclude_each_other() -> None:
    _, authority, clock = await made()
    given: dict[str, Any] = {"ExternalSigner": True, "RootCert": Keeper(clock.now).chain()}
    with pytest.raises(RequestError, match="private key"):
        await authority.configure(CAWish(config=given))
    with pytest.raises(RequestError, match="true or false"):
        await authority.configure(CAWish(config={"ExternalSigner": "perhaps"}))


async def test_keys_are_sealed_wherever_they_are_replicated() -> None:
    seal = Seal(b"k" * 32)
    backend, clock = StateBackend(), Clock()
    clear = Authority(backend, datacenter="dc1", config={}, now=clock)
    await clear.ensure_root()
    root = (await roots_of(backend)).roots
    sealing = Authority(backend, datacenter="dc1", config={}, seal=seal, now=clock)
    await sealing.prune()  # the hourly look: a key that lay clear does so no more
    provider = (await backend.ask(GetCAProvider())).value
    assert provider is not None and "PRIVATE" not in provider.private_key
    assert [one.id for one in (await roots_of(backend)).roots] == [one.id for one in root]
    index = backend.index
    await sealing.prune()
    assert backend.index == index, "once"
    chain = (await sealing.sign_leaf(await csr(backend))).cert_pem
    assert verifies(chain, await pems(backend), clock.now)
    with pytest.raises(RequestError, match="sealed"):
        await clear.sign_leaf(await csr(backend))
    await sealing.configure(CAWish(rotate=True))
    await sealing.configure(EXTERNAL)
    keeper = Keeper(clock.now)
    asked = await request(sealing)
    assert "PRIVATE" not in (await backend.ask(GetSigningRequest())).value
    await install(sealing, keeper.intermediate(asked))
    assert (await backend.ask(GetSigningRequest())).value == ""
    chain = (await sealing.sign_leaf(await csr(backend))).cert_pem
    assert verifies(chain, [keeper.chain()], clock.now)
    found = (await backend.ask(GetCAProvider())).value
    assert found is not None and "PRIVATE" not in found.private_key
