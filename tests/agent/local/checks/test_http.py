"""The HTTP check against a real server."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agent.definitions import CheckDefinition
from agent.local.checks.contexts import Contexts
from agent.local.checks.http import HttpProber


@pytest.fixture
async def server():
    app = web.Application()
    seen = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, list(request.headers.items()), await request.text()))
        where = request.match_info["where"]
        if where == "moved":
            raise web.HTTPFound("/200")
        if where == "loop":
            raise web.HTTPFound("/loop")
        if where == "slow":
            await asyncio.Event().wait()
        if where == "long":
            return web.Response(text="x" * 5000 + "end")
        return web.Response(status=int(where), text="body\n")

    app.router.add_route("*", "/{where}", answer)
    server = TestServer(app, host="127.0.0.1")
    server.seen = seen
    await server.start_server()
    yield server
    await server.close()


@pytest.fixture
async def prober():
    prober = HttpProber(Contexts(None))
    yield prober
    await prober.close()


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("200", "passing", "200 OK"),
        ("204", "passing", "204 No Content"),
        ("429", "warning", "429 Too Many Requests"),
        ("404", "critical", "404 Not Found"),
        ("500", "critical", "500 Internal Server Error"),
    ],
)
async def test_the_status_code_decides(server, prober, code, status, words) -> None:
    url = str(server.make_url(f"/{code}"))
    result = await prober.probe(CheckDefinition(http=url), 4096)
    assert result.status == status
    body = "" if code == "204" else "body\n"
    assert result.output == f"HTTP GET {url}: {words} Output: {body}"


async def test_the_request_is_the_one_servers_know(server, prober) -> None:
    url = str(server.make_url("/200"))
    check = CheckDefinition(http=url, method="post", body="b", header={"X-A": ("b", "c")})
    await prober.probe(check, 4096)
    method, headers, body = server.seen[0]
    assert (method, body) == ("POST", "b")
    assert ("User-Agent", "Consul Health Check") in headers
    assert ("Accept", "text/plain, text/*, */*") in headers
    assert [value for name, value in headers if name == "X-A"] == ["b", "c"]


async def test_headers_may_be_replaced_and_host_too(server, prober) -> None:
    header = {"user-agent": ("mine",), "Host": ("web.example",)}
    await prober.probe(CheckDefinition(http=str(server.make_url("/200")), header=header), 10)
    headers = {name.lower(): value for name, value in server.seen[0][1]}
    assert (headers["user-agent"], headers["host"]) == ("mine", "web.example")


async def test_redirects_are_followed_unless_told_otherwise(server, prober) -> None:
    url = str(server.make_url("/moved"))
    assert (await prober.probe(CheckDefinition(http=url), 10)).status == "passing"
    stay = await prober.probe(CheckDefinition(http=url, disable_redirects=True), 10)
    assert stay.status == "critical" and "302 Found" in stay.output
    loop = str(server.make_url("/loop"))
    endless = await prober.probe(CheckDefinition(http=loop), 10)
    assert endless.output == f'Get "{loop}": stopped after 10 redirects'


async def test_only_the_end_of_a_long_body_is_kept(server, prober) -> None:
    result = await prober.probe(CheckDefinition(http=str(server.make_url("/long"))), 10)
    assert result.output.endswith("Output: xxxxxxxend")


async def test_the_timeout_is_for_the_whole_request(server, prober) -> None:
    url = str(server.make_url("/slow"))
    result = await prober.probe(CheckDefinition(http=url, timeout_s=0.1), 10)
    assert (result.status, result.timed_out) == ("critical", True)
    assert result.output == (
        f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    )


async def test_a_closed_port_is_told_in_gos_words(prober) -> None:
    result = await prober.probe(CheckDefinition(http="http://127.0.0.1:1/"), 10)
    assert result.output == (
        'Get "http://127.0.0.1:1/": dial tcp 127.0.0.1:1: connect: connection refused'
    )
    assert not result.timed_out


@pytest.mark.parametrize("url", ["nonsense", "ftp://x/", "http://", "http://[::1"])
async def test_a_bad_url_is_critical_and_no_crash(prober, url) -> None:
    assert (await prober.probe(CheckDefinition(http=url, timeout_s=2.0), 10)).status == "critical"


async def test_loopback_never_goes_through_a_proxy(server, prober, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    result = await prober.probe(CheckDefinition(http=str(server.make_url("/200"))), 10)
    assert result.status == "passing"
    proxied = await prober.probe(CheckDefinition(http="http://web.example/", timeout_s=2.0), 10)
    assert "127.0.0.1:1" in proxied.output
