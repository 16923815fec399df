"""The door of the mesh: requests from outside find their service by its host."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import replace
from typing import Any

import pytest

from proxy.errors import SourceError
from proxy.http1.forward import HeaderChanges
from proxy.http1.head import Request
from proxy.l7.ingress import IngressListener, IngressService, listeners
from proxy.l7.ingress_http import IngressHttp
from proxy.l7.messages import Answer, Body, NoBody
from proxy.l7.mirror import Nowhere
from proxy.l7.relaying import Replay
from proxy.source import Endpoint, UpstreamSpec
from proxy.telemetry.entry import Notes
from proxy.tls_range import TlsRange
from tests.proxy.l7.net import Net, body_of, head_of, net
from tests.proxy.l7.pair import nobody
from tests.proxy.mesh import DATACENTER, Mesh, until

#: What is tested does not depend on the loop.
ONE_LOOP = True

DOOR = IngressListener(
    port=8080,
    protocol="http",
    services=(
        IngressService(name="a", hosts=("a.example", "*.a.example")),
        IngressService(name="b", hosts=("*.example",)),
        IngressService(name="c"),
        IngressService(name="d", hosts=("*",)),
    ),
)


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("a.example", "a"), ("A.EXAMPLE:8080", "a"), ("x.a.example", "a"), ("b.example", "b"),
        ("x.y.example", "b"), (".example", "d"), ("c.ingress.consul", "c"),
        ("c.ingress.dc1.consul:80", "c"), ("cc.ingress.consul", "d"), ("", "d"), ("[::1]:80", "d"),
    ],
)  # fmt: skip
def test_the_nearest_host_counts(host: str, service: str) -> None:
    found = DOOR.service_of(host)
    assert found is not None and found.name == service


def test_nobody_is_meant_by_a_strange_host() -> None:
    assert replace(DOOR, services=DOOR.services[:3]).service_of("other") is None


def entry(**more: object) -> dict[str, object]:
    return {"Listeners": [{"Port": 80, "Protocol": "http", "Services": [{"Name": "a"}], **more}]}


def test_entries_are_read_or_refused_whole() -> None:
    (found,) = listeners(entry())
    assert (found.port, found.protocol, found.services[0].name) == (80, "http", "a")
    (found,) = listeners({"TLS": {"Enabled": True, "TLSMinVersion": "TLSv1_3"}, **entry()})
    assert found.tls == TlsRange("TLSv1_3")
    sds = {"Enabled": True, "SDS": {"ClusterName": "c", "CertResource": "r"}}
    for bad in (entry(Protocol="udp"), entry(TLS=sds), entry(TLS={"CipherSuites": ["RC4"]})):
        with pytest.raises(SourceError):
            listeners(bad)


async def ask(port: int, host: str, *more: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = ["GET /x HTTP/1.1", f"Host: {host}", "Connection: close", *more]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    raw = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return int(raw.split()[1]), raw


async def opened(made: Net, protocol: str, *hosts: str, tls: TlsRange | None = None) -> int:
    """web as a gateway with one listener; its port."""
    own = made.mesh.sources["web"].state.own
    assert own is not None
    spec = UpstreamSpec(name="db")
    state = made.mesh.sources["web"].state
    (key,) = state.chains
    changes = {"X-Out": "%SERVICE%"}
    service = IngressService(name="db", hosts=hosts)
    if protocol == "http":
        service = replace(
            service,
            request_headers=HeaderChanges(add={"X-In": "1"}),
            response_headers=HeaderChanges(set=changes),
        )
    door = IngressListener(port=0, protocol=protocol, services=(service,), tls=tls)
    made.change(
        own=replace(own, upstreams=(spec,), ingress=(door,), listen_port=0),
        chains={spec.key: state.chains[key]},
        settings={spec.key: state.settings[key]},
        endpoints={spec.key: state.endpoints.get(key, ())},
    )
    await until(lambda: made.web.port("ingress:0") > 0, "the door is open")
    return made.web.port("ingress:0")


async def test_requests_come_in_by_host_and_say_nothing_of_the_mesh_themselves() -> None:
    mesh = Mesh()
    async with mesh.stack:
        made = await net(mesh, "one")
        port = await opened(made, "http", "shop.example")
        liar = "X-Forwarded-Client-Cert: URI=me"
        status, raw = await ask(port, "shop.example", liar, "X-Forwarded-For: 10.1.1.1")
        assert status == 200 and raw.endswith(b"one") and b"\r\nX-Out: db\r\n" in raw
        (seen,) = made.apps["one"].seen
        headers = seen[1]
        assert headers["x-in"] == "1" and headers["x-forwarded-for"] == "10.1.1.1, 127.0.0.1"
        assert headers["x-forwarded-client-cert"].endswith("/svc/web")
        assert (await ask(port, "other.example"))[0] == 404
        assert len(made.apps["one"].seen) == 1


async def test_clients_outside_speak_tls_where_the_listener_wants_it() -> None:
    mesh = Mesh()
    async with mesh.stack:
        made = await net(mesh, "one")
        port = await opened(made, "http", "shop.example", tls=TlsRange("TLSv1_3"))
        context = ssl.create_default_context(cadata=mesh.authority.root.public.root_cert)
        context.check_hostname = False  # the names of a gateway's leaf: tests/agent/connect
        context.set_alpn_protocols(["h2", "http/1.1"])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
        raw = await asyncio.wait_for(reader.read(), 30)
        assert raw.startswith(b"HTTP/1.1 200") and raw.endswith(b"one")
        secured = writer.get_extra_info("ssl_object")
        assert (secured.version(), secured.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        writer.close()
        assert made.apps["one"].seen[0][1]["x-forwarded-proto"] == "https"
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, OSError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=context)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in await asyncio.wait_for(reader.read(), 30)
        writer.close()
        assert len(made.apps["one"].seen) == 1
        assert sum(n for (of, _), n in made.web.stats().events.items() if of == "handshake") == 2


async def test_bytes_come_in_over_tls() -> None:
    mesh = Mesh()
    async with mesh.stack:
        made = await net(mesh, "one")
        port = await opened(made, "tcp", tls=TlsRange())
        host = made.hosts["one"]
        there = Endpoint(address=host.address, port=host.port, datacenter=DATACENTER)
        made.change(endpoints={UpstreamSpec(name="db").key: (there,)})
        context = ssl.create_default_context(cadata=mesh.authority.root.public.root_cert)
        context.check_hostname = False
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_door_lets_plain_requests_go_the_short_way_and_says_the_same() -> None:
    mesh = Mesh()
    async with mesh.stack:
        made = await net(mesh, "one")
        port = await opened(made, "http", "shop.example")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        mesh.stack.callback(writer.close)
        short = made.web._http.observer
        told = []
        for number in range(4):
            size = number // 2 * 3  # two requests without a body, two with one
            writer.write(
                b"POST /x HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-Client-Cert: URI=me\r\n"
                b"X-Lictor-Mirror: 1\r\nX-Request-Id: x\r\ntraceparent: y\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (size, b"x" * size)
            )
            async with asyncio.timeout(30):
                first, headers = await head_of(reader)
                body = await body_of(reader, headers)
            head, seen, sent = made.apps["one"].seen[-1]
            assert sent == b"x" * size and seen.pop("content-length") == str(size)
            assert headers["x-out"] == "db" and "x-lictor-mirror" not in seen
            assert seen["x-forwarded-client-cert"].endswith("/svc/web") and seen["x-in"] == "1"
            assert seen["x-forwarded-for"] == "127.0.0.1"
            seen.pop("traceparent")
            told.append((first, sorted(headers.items()), body, head, sorted(seen.items())))
        assert told[0] == told[1] == told[2] == told[3]
        assert short.short == 3, "all but the first, for which there was no connection"
        writer.write(b"GET /x HTTP/1.1\r\nHost: other.example\r\n\r\n")
        async with asyncio.timeout(30):
            first, _ = await head_of(reader)
        assert first.split()[1] == "404"


class Stub:
    """A service that has no connection at hand: plans nothing."""

    def __init__(self) -> None:
        self.forgotten = 0

    async def handle(self, request: Request, body: Body, answer: Answer) -> None: ...

    def plan(self, request: Request, notes: Notes, replay: Replay) -> None: ...

    def forget(self) -> None:
        self.forgotten += 1


async def test_what_was_planned_for_one_service_is_not_taken_up_by_another() -> None:
    made = {"a": Stub(), "b": Stub()}
    services = [IngressService(name=name, hosts=("shop.example",)) for name in made]
    doors = [IngressListener(port=1, protocol="http", services=(each,)) for each in services]
    now = doors[0]
    http = IngressHttp(lambda: now, made.get, "1.1.1.1")
    request = Request("GET", "/", 1, (("Host", "shop.example"),))
    body: Any = NoBody(nobody())
    answer: Any = Nowhere()
    for at, forgotten in ((0, 0), (1, 1)):
        now = doors[0]
        assert http.plan(request, Notes(), Replay(body)) is None
        now = doors[at]
        await http.handle(request, body, answer)
        assert (made["a"].forgotten, made["b"].forgotten) == (forgotten, 0)
