"""Exposed paths and PROXY headers on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from proxy.l7.exposed import may_ask
from proxy.l7.settings import UpstreamSettings
from proxy.proxy_protocol import v2
from proxy.source import ExposedPath, MeshState, OwnService, UpstreamSpec
from tests.ports import free_port
from tests.proxy.l7.net import GET, SPEC, body_of, head_of, net
from tests.proxy.mesh import Mesh, until

#: What is tested does not depend on the loop.
ONE_LOOP = True

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = Mesh()
    async with made.stack:
        yield made


async def test_only_the_exposed_path_is_served_in_clear(mesh: Mesh) -> None:
    made = await net(mesh, "a")
    source, port = mesh.sources["db"], free_port()
    own = source.state.own
    assert own is not None
    exposed = ExposedPath(path="/health", listener_port=port, local_port=own.app.port)
    source.change(own=replace(own, exposed=(exposed,)))
    db = mesh.proxies["db"]
    await until(lambda: db.port(f"exposed:{port}") == port, "the path is served", 20)

    async def ask(path: str) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        first, headers = await asyncio.wait_for(head_of(reader), 20)
        await body_of(reader, headers)
        writer.close()
        return int(first.split()[1])

    assert await ask("/health/live?x=1") == 200
    assert [await ask(path) for path in ("/", "/x", "/health/../admin")] == [404, 404, 404]
    assert await ask("/health%2f..%2fadmin") == 400
    assert [seen[0] for seen in made.apps["a"].seen] == ["GET /health/live?x=1 HTTP/1.1"]
    source.change(own=own)
    await until(lambda: db.port(f"exposed:{port}") == 0, "it is not served any more", 20)


def test_paths_of_checks_are_for_this_host_only() -> None:
    path = ExposedPath(path="/", listener_port=1, local_port=2, here_only=True)
    addresses = ("127.0.0.1", "::1", "10.0.0.1", "10.0.0.2", "")
    assert [may_ask(path, each, "10.0.0.1") for each in addresses] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert may_ask(replace(path, here_only=False), "10.0.0.2", "10.0.0.1")


@pytest.mark.parametrize("mode", ["accept", "require"])
async def test_connections_say_who_they_come_from(mesh: Mesh, mode: str) -> None:
    balancer = {
        "Policy": "ring_hash",
        "RingHashConfig": {"MinimumRingSize": 64, "MaximumRingSize": 64},
        "HashPolicies": [{"SourceIP": True}],
    }
    settings = UpstreamSettings(proxy_protocol=mode)
    made = await net(mesh, "a", "b", settings=settings, balancer=balancer)
    policy = made.state.hosts["db"].policy
    await until(lambda: policy._built, "the table is made", 20)  # type: ignore[attr-defined]
    seen = set()
    for number in range(1, 9):
        header = v2((f"10.0.0.{number}", 1), ("10.0.0.99", 80))
        answers = {(await made.ask(header + GET))[2] for _ in range(2)}
        assert len(answers) == 1
        seen |= answers
    assert len(seen) == 2, "they are told apart"
    old = b"PROXY TCP4 10.0.0.1 10.0.0.99 1 80\r\n"
    assert (await made.ask(old + GET))[0] == 200
    if mode == "accept":
        assert (await made.ask())[0] == 200
    for raw in (
        b"\r\n\r\n\0\r\nQUIT\n\xff\x11\0\0",
        b"PROXY nonsense\r\n",
        GET if mode == "require" else b"",
    ):
        if not raw:
            continue
        reader, writer = await made.connect()
        writer.write(raw)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(head_of(reader), 20)
        writer.close()


def test_a_proxy_without_a_registration_has_no_doors() -> None:
    from proxy.doors import Doors

    doors = Doors(None)  # type: ignore[arg-type]
    assert doors.wanted(MeshState()) == {}
    assert doors.wanted(MeshState(own=OwnService(name="a"))) == {}
    assert UpstreamSpec(name="a").key == "virtual:a@"
    assert SPEC.listens
