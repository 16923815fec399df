"""A terminating gateway in one loop: members of the mesh reach services that are not, by real TLS,
as far as the services' own intentions let them."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from proxy.doors import LINKED
from proxy.linked import Linked
from proxy.server import Proxy
from proxy.source import AppAddress, AppTls, Endpoint, MeshState, OwnService, UpstreamSpec
from proxy.spiffe import SpiffeId
from tests.certificates import TestCA
from tests.proxy.mesh import DATACENTER, Mesh, TestSource, rule, until

#: What is tested does not depend on the loop.
ONE_LOOP = True

OUTSIDE = ("bank", "mail")
#: A subset of one of them.
PART = "bank;v2"


class Followed(TestSource):
    async def start(self) -> None: ...
    async def close(self) -> None: ...


@dataclass
class Border:
    """A gateway before two services, and web with an upstream to each."""

    mesh: Mesh
    ca: TestCA
    gateway: Proxy
    linked: Linked
    sources: dict[str, Followed]
    places: dict[str, int]
    seen: list[str]

    async def ask(self, port: int, data: bytes = b"hello") -> bytes:
        """What comes until the other side ends; b"" where it is refused."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(data)
            return await asyncio.wait_for(reader.read(), 20)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    def there(self, subset: str = "") -> Endpoint:
        port = self.gateway.port(LINKED)
        return Endpoint(address="127.0.0.1", port=port, datacenter=DATACENTER, subset=subset)

    async def upstream(self, service: str, client: str = "web") -> int:
        """The local port of a member's upstream to a service behind the gateway."""
        spec = UpstreamSpec(name=service, bind_port=-1)
        there = {spec.key: (self.there(),)}
        proxy = await self.mesh.sidecar(client, upstreams=[spec], endpoints=there)
        return proxy.port(spec.key)


async def tls_server(mesh: Mesh, ca: TestCA, name: str, seen: list[str]) -> int:
    """A service that speaks TLS, wants a certificate, and says whose it is."""
    issued = ca.issue(name, dns=(f"{name}.example",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.cert, issued.key)
    context.load_verify_locations(ca.file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.sni_callback = lambda _, asked, __: seen.append(str(asked))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read(100)
        writer.write(data + b" from " + name.encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    mesh.stack.callback(server.close)
    return int(server.sockets[0].getsockname()[1])


@pytest.fixture
async def border(tmp_path: Path) -> AsyncIterator[Border]:
    mesh, ca, seen = Mesh(), TestCA(tmp_path), []  # type: ignore[var-annotated]
    client = ca.issue("gateway")
    base = MeshState(
        leaf=mesh.authority.leaf("gw"),
        roots_pem=(mesh.authority.root.public.root_cert,),
        trust_domain=mesh.authority.trust_domain,
        datacenter=DATACENTER,
        rules=(),
        default_allow=True,
    )
    every = (*OUTSIDE, PART)
    own = OwnService(name="gw", listen_address="127.0.0.1", linked=every, linked_port=-1)
    source = TestSource(replace(base, own=own))
    sources: dict[str, Followed] = {}
    places = {one: await tls_server(mesh, ca, one.replace(";", "-"), seen) for one in every}

    def make(one: str) -> tuple[Followed, Proxy]:
        host = one.replace(";", "-") + ".example"
        tls = AppTls(str(ca.file), str(client.cert), str(client.key), host)
        app = AppAddress("127.0.0.1", places[one], tls=tls)
        name, _, subset = one.partition(";")
        stands = OwnService(name=name, subset=subset, app=app)
        sources[one] = Followed(replace(base, own=stands, leaf=mesh.authority.leaf(name)))
        return sources[one], Proxy(sources[one], mesh.config, rng=random.Random(1))

    gateway = Proxy(source, mesh.config, rng=random.Random(1))
    linked = gateway.wing = Linked(make)
    source.subscribe(linked.update)
    linked.update(source.state)
    async with mesh.stack:
        await gateway.start()
        mesh.stack.push_async_callback(gateway.close)
        mesh.stack.push_async_callback(linked.close)
        await until(lambda: gateway.serving, "the gateway serves")
        yield Border(mesh, ca, gateway, linked, sources, places, seen)


async def test_members_reach_services_outside_each_by_its_name(border: Border) -> None:
    bank, mail = await border.upstream("bank"), await border.upstream("mail")
    assert await border.ask(bank) == b"hello from bank"
    assert await border.ask(mail) == b"hello from mail"
    assert set(border.seen) == {"bank.example", "mail.example"}
    metrics = border.gateway.metrics()
    inbound = 'service="bank",dc="dc1",direction="inbound",protocol="tcp"'
    assert f"lictor_proxy_connections_total{{{inbound}}} 1" in metrics
    assert metrics.count("# TYPE lictor_proxy_connections_total") == 1
    assert set(border.gateway.explain()["linked"]) == {*OUTSIDE, PART}


async def test_members_reach_the_subset_that_they_mean(border: Border) -> None:
    """One member, one gateway, one identity: only who means the same shares connections."""
    whole, part = (
        UpstreamSpec(name="bank", bind_address=f"127.0.0.{n}", bind_port=-1) for n in (1, 2)
    )
    there = {whole.key: (border.there(),), part.key: (border.there("v2"),)}
    web = await border.mesh.sidecar("web", upstreams=[whole, part], endpoints=there)
    for _ in range(2):
        assert await border.ask(web.port(whole.key)) == b"hello from bank"
        reader, writer = await asyncio.open_connection("127.0.0.2", web.port(part.key))
        writer.write(b"hello")
        assert await asyncio.wait_for(reader.read(), 20) == b"hello from bank-v2"
        writer.close()
    series = [line.rpartition(" ")[0] for line in border.gateway.metrics().splitlines()]
    kept = [line for line in series if not line.startswith("#")]
    assert len(kept) == len(set(kept))
    assert any('service="bank",dc="dc1",subset="v2"' in line for line in kept)


async def test_the_intentions_of_each_service_hold_at_the_gateway(border: Border) -> None:
    bank, mail = await border.upstream("bank"), await border.upstream("mail")
    reader, writer = await asyncio.open_connection("127.0.0.1", bank)
    writer.write(b"he")
    border.sources["bank"].change(rules=(rule("web", "bank", "deny"),))
    assert await border.ask(bank) == b""
    assert await border.ask(mail) == b"hello from mail"
    writer.close()
    del reader


async def test_nobody_is_taken_for_whom_he_did_not_ask(border: Border) -> None:
    """Two services with one port between them: each handshake gets its own certificate."""
    context = border.mesh.client_context(border.mesh.authority.leaf("web"))
    port = border.gateway.port(LINKED)
    for name in OUTSIDE:
        asked = f"{name}.default.{DATACENTER}.internal.{border.mesh.authority.trust_domain}"
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=asked
        )
        found = writer.get_extra_info("peercert")["subjectAltName"]
        who = SpiffeId.service(border.mesh.authority.trust_domain, DATACENTER, name)
        assert found == (("URI", who.uri),)
        writer.transport.abort()
    for asked in ("nobody.default.dc1.internal.x", None):
        with pytest.raises((OSError, ssl.SSLError)):
            await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname=asked or ""
            )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


async def test_a_service_that_is_not_whom_it_should_be_gets_nothing(border: Border) -> None:
    bank = await border.upstream("bank")
    own = border.sources["bank"].state.own
    assert own is not None and own.app.tls is not None
    wrong = replace(own.app, tls=replace(own.app.tls, server_name="other.example"))
    border.sources["bank"].change(own=replace(own, app=wrong))
    assert await border.ask(bank) == b""
    gone = replace(own.app, tls=replace(own.app.tls, ca_file="/nowhere.pem"))
    border.sources["bank"].change(own=replace(own, app=gone))
    assert await border.ask(bank) == b""
    _, proxy = border.linked._running["bank"]
    assert proxy.stats().events["dial", "local_connect_failure"] == 2
    # Several places: one that does not answer costs nobody his connection.
    several = replace(own.app, port=1, others=(("127.0.0.1", border.places["bank"]),))
    border.sources["bank"].change(own=replace(own, app=several))
    for _ in range(3):
        assert await border.ask(bank) == b"hello from bank"


async def test_a_service_that_is_linked_no_more_is_refused(border: Border) -> None:
    bank = await border.upstream("bank")
    assert await border.ask(bank) == b"hello from bank"
    own = border.gateway._state.own
    assert own is not None
    border.gateway._source.change(own=replace(own, linked=("mail",)))  # type: ignore[attr-defined]
    await until(lambda: "bank" not in border.linked.explain(), "it is gone")
    assert await border.ask(bank) == b""
