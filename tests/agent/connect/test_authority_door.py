"""What a server has of the authority before anybody wanted one, and what it becomes."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import pytest

from agent.backend.operations import CONFIGURE_CA, INSTALL_CA, REQUEST_CA
from agent.connect import ca
from agent.connect.authority import NOT_READY
from agent.connect.authority_door import AuthorityDoor
from agent.errors import RequestError
from proxy.spiffe import SpiffeId
from raftstore.errors import NoLeader
from raftstore.queries import GetCARoots
from raftstore.wire import DecodeError
from tests.agent.connect.cluster import StateBackend


def door(backend: StateBackend, **config: Any) -> AuthorityDoor:
    return AuthorityDoor(backend, datacenter="dc1", config=config)


def test_before_the_first_work_there_are_names_and_figures_at_zero() -> None:
    shut = door(StateBackend())
    assert set(shut.methods) == {CONFIGURE_CA, REQUEST_CA, INSTALL_CA}
    assert shut._authority is None and not any(asdict(shut.stats()).values())


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"leaf_cert_ttl": "1m"}, "leaf cert TTL must be greater or equal than 1h0m0s"),
        ({"ExternalSigner": 3}, "ExternalSigner must be true or false"),
    ],
)
def test_settings_that_cannot_be_used_are_told_at_the_start(
    config: dict[str, Any], words: str
) -> None:
    with pytest.raises(RequestError) as caught:
        door(StateBackend(), **config)
    assert caught.value.text == f"error configuring provider: {words}"


async def test_there_is_one_authority_however_many_want_it_first() -> None:
    backend = StateBackend()
    shut = door(backend)
    with pytest.raises(RequestError) as caught:
        await shut.sign_leaf("no root yet")
    assert caught.value.text == NOT_READY
    opened = shut._authority
    await asyncio.gather(*(shut.ensure_root() for _ in range(3)))
    assert shut._authority is opened
    roots = (await backend.ask(GetCARoots())).value
    assert len(roots.roots) == 1
    leaf = await shut.sign_leaf(
        ca.make_csr(ca.generate_key(), SpiffeId.service(roots.trust_domain, "dc1", "web"))
    )
    assert leaf.cert_pem.startswith("-----BEGIN CERTIFICATE-----")
    assert shut.stats().signed == 1 and shut.stats() is shut.stats()


async def test_figures_go_on_where_they_began() -> None:
    backend = StateBackend()
    shut = door(backend)
    before = shut.stats()
    await shut.ensure_root()
    assert shut.stats() is before


@pytest.mark.parametrize("method", [CONFIGURE_CA, REQUEST_CA, INSTALL_CA])
async def test_what_comes_over_the_wire_reaches_the_authority_and_its_refusals_come_back(
    method: str,
) -> None:
    backend = StateBackend()
    shut = door(backend)
    with pytest.raises((DecodeError, RequestError)):
        await shut.methods[method](b"\xc1", 5.0)
    assert shut._authority is not None
    backend.down = True
    with pytest.raises(NoLeader):
        await shut.ensure_root()
