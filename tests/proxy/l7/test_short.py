"""The short way of plain requests: the same answers as the long way, whatever either side does."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from proxy.authz import Rule
from proxy.l7.short import ShortWay
from tests.proxy.l7.net import SPEC, chain, head_of
from tests.proxy.l7.pair import Net, answer, ask, pair
from tests.proxy.mesh import until

BIG = 32 << 20
LAST = "Connection: close\r\n"
#: What the application does by path: pieces of its answer; "" is the end of its connection.
SCRIPT: dict[str, list[bytes]] = {
    "/plain": [b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello"],
    "/pieces": [b"HTTP/1.1 200 OK\r\nContent-", b"Length: 10\r\n\r\nhello", b"hello"],
    "/chunks": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", b"lo\r\n3\r\nabc\r\n",
        b"0\r\n\r\n",
    ],
    "/close": [b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo", b""],
    "/bye": [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b""],
    "/early": [b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
               b"Content-Length: 2\r\n\r\nok"],
    "/empty": [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "/same": [b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"],
    "/hops": [b"HTTP/1.1 200 OK\r\nConnection: x-b\r\nX-B: 1\r\nContent-Length: 0\r\n\r\n"],
    "/bad": [b"HTTP/1.1 2x0 OK\r\n\r\n"],
    "/switch": [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", b""],
    "/error": [b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno"],
    "/cut": [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", b""],
    "/never": [],
}  # fmt: skip


class App:
    """Answers by the script."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.open = 0
        self.script = dict(SCRIPT)
        #: Ends each connection instead of answering its second request.
        self.rude = False
        #: Pieces that were written, and what to look at before each.
        self.written = 0
        self.look: Callable[[], None] = lambda: None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        answered = 0
        try:
            while True:
                first, headers = await head_of(reader)
                self.seen.append((first, headers))
                answered += 1
                if self.rude and answered > 1:
                    return
                method, target, _ = first.split()
                pieces = self.script[target.partition("?")[0]]
                if method == "HEAD":
                    pieces = [pieces[0].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"]
                for piece in pieces:
                    if not piece:
                        return
                    self.look()
                    writer.write(piece)
                    await writer.drain()
                    self.written += 1
                    await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.open -= 1
            writer.close()


@pytest.fixture
async def net() -> AsyncIterator[Net[App]]:
    async with pair(App()) as made:
        yield made


_NEW = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def test_both_ways_say_the_same(net: Net[App], monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [
        (path, method, more)
        for path in SCRIPT
        if path not in ("/never", "/cut")
        for method in ("GET", "HEAD")
        for more in (
            "",
            "X-One: 1\r\nx-one: 2\r\nTE: trailers\r\nConnection: keep-alive\r\n",
            LAST,
        )
        if method == "GET" or path in ("/plain", "/empty")
    ]
    cases += [("/plain?a=b%2F", "GET", "traceparent: x\r\n"), ("//plain/./x/..", "GET", "")]
    net.app.script["/plain/"] = SCRIPT["/plain"]
    found: list[list[Any]] = []
    for short in (True, False):
        if not short:
            monkeypatch.setattr(ShortWay, "take", lambda self, data: False)
        before = net.short
        told: list[Any] = []
        for path, method, more in cases:
            reader, writer = await net.connect()
            said = await ask(reader, writer, path, method, more)
            if more == LAST:
                assert await asyncio.wait_for(reader.read(), 20) == b""
            told.append((path, method, said, _NEW.sub("id", str(net.app.seen[-1]))))
            writer.close()
        found.append(told)
        gone = [now - then for now, then in zip(net.short, before, strict=True)]
        assert min(gone) > len(cases) if short else max(gone) == 0
    for one, other in zip(*found, strict=True):
        assert one == other
    await until(net.idle, "nothing is under way")


async def test_an_answer_that_is_cut_short_breaks_the_connection(net: Net[App]) -> None:
    reader, writer = await net.connect()
    writer.write(b"GET /cut HTTP/1.1\r\nHost: db\r\n\r\n")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await answer(reader)
    await until(net.idle, "nothing is under way")


async def test_hosts_that_end_kept_connections_cost_no_request(net: Net[App]) -> None:
    reader, writer = await net.connect()
    net.app.rude = True
    for _ in range(50):
        assert (await ask(reader, writer, "/plain"))[2] == b"hello"
    assert net.idle()


async def test_requests_one_after_another_without_waiting_are_answered_in_order(
    net: Net[App],
) -> None:
    reader, writer = await net.connect()
    before = net.short
    for path in ("/plain", "/chunks", "/pieces", "/plain", "/bye", "/early"):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: db\r\n\r\n".encode())
        await asyncio.sleep(0)
    bodies = [(await answer(reader))[2] for _ in range(6)]
    assert bodies == [b"hello", b"helloabc", b"hellohello", b"hello", b"ok", b"ok"]
    assert net.short != before


async def test_the_first_request_of_a_connection_goes_it_too(net: Net[App]) -> None:
    await net.connect()  # now there are kept connections
    for more in ("", LAST):
        before = net.short
        raw = socket.create_connection(("127.0.0.1", net.web.port(SPEC.key)))
        raw.sendall(f"GET /plain HTTP/1.1\r\nHost: db\r\n{more}\r\n".encode())  # at once
        reader, writer = await asyncio.open_connection(sock=raw)
        assert (await answer(reader))[2] == b"hello"
        assert [now - then for now, then in zip(net.short, before, strict=True)] == [1, 1]
        writer.close()


async def test_nothing_is_answered_after_the_last_request(net: Net[App]) -> None:
    reader, writer = await net.connect()
    before, known = net.short[0], len(net.app.seen)
    asked = b"GET /plain HTTP/1.1\r\nHost: db\r\n"
    writer.write(asked + LAST.encode() + b"\r\n" + asked + b"\r\n")
    assert (await answer(reader))[2] == b"hello"
    assert await asyncio.wait_for(reader.read(), 20) == b""
    assert (net.short[0], len(net.app.seen)) == (before + 1, known + 1)
    writer.close()
    await until(net.idle, "nothing is under way")
    await until(lambda: not net.web._http.stats.open, "the connection is gone")
    assert len(net.app.seen) == known + 1


async def test_a_client_that_leaves_frees_what_it_held(net: Net[App]) -> None:
    _, writer = await net.connect()
    before = net.short[0]
    writer.write(b"GET /never HTTP/1.1\r\nHost: db\r\n\r\n")
    await until(lambda: net.app.seen[-1][0].startswith("GET /never"), "the application is asked")
    assert net.short[0] == before + 1
    writer.close()
    await until(net.idle, "the request has ended")
    await until(lambda: not net.app.open, "its connections are gone")


async def test_a_client_that_does_not_read_holds_the_application_up(net: Net[App]) -> None:
    reader, writer = await net.connect()
    net.app.script["/big"] = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG] + [
        b"x" * 65_536
    ] * (BIG // 65_536)
    before, most = net.short, 0
    transport: Any = writer.transport
    transport.pause_reading()
    pipes = net.web._http._pipes

    def look() -> None:
        nonlocal most
        streams: list[Any] = [pipe._stream for pipe in pipes]
        most = max(most, *(each.transport.get_write_buffer_size() for each in streams))

    net.app.look = look
    writer.write(b"GET /big HTTP/1.1\r\nHost: db\r\n\r\n")
    await until(lambda: any(not pipe.writable for pipe in pipes), "web holds back")
    still, last = 0, 0

    def stuck() -> bool:
        nonlocal still, last
        still = still + 1 if net.app.written == last else 0
        last = net.app.written
        return still > 20

    await until(stuck, "the application is held up")
    assert most < 8 << 20, f"{most} bytes wait in web"
    transport.resume_reading()
    async with asyncio.timeout(60):
        _, headers = await head_of(reader)
        left = int(headers["content-length"])
        while left:
            left -= len(await reader.read(1 << 20))
    assert (await ask(reader, writer, "/plain"))[2] == b"hello"
    assert min(now - then for now, then in zip(net.short, before, strict=True)) >= 1


async def test_what_the_route_repeats_is_repeated(net: Net[App]) -> None:
    net.mesh.sources["web"].change(
        chains={SPEC.key: chain(destination={"NumRetries": 2, "RetryOnStatusCodes": [503]})}
    )
    reader, writer = await net.connect()
    size = len(net.app.seen)
    first, _, body = await ask(reader, writer, "/error")
    assert first.split()[1] == "503" and body == b"no"
    attempts = [headers.get("x-lictor-attempt") for _, headers in net.app.seen[size:]]
    assert attempts == [None, "2", "3"]
    await until(net.idle, "nothing is under way")


async def test_a_host_that_speaks_no_http_is_not_asked_for_ever(net: Net[App]) -> None:
    reader, writer = await net.connect()
    size = len(net.app.seen)
    assert (await ask(reader, writer, "/bad"))[0].split()[1] == "502"
    assert len(net.app.seen) == size + 1


async def test_time_runs_out_on_the_short_way(net: Net[App]) -> None:
    soon = chain(destination={"RequestTimeout": "300ms"})
    net.mesh.sources["web"].change(chains={SPEC.key: soon})
    reader, writer = await net.connect()
    before = net.short[0]
    assert (await ask(reader, writer, "/never"))[0].split()[1] == "504"
    assert net.short[0] == before + 1
    assert (await ask(reader, writer, "/plain"))[2] == b"hello"
    await until(net.idle, "nothing is under way")


async def test_each_request_is_decided_by_the_rules_of_its_moment(net: Net[App]) -> None:
    reader, writer = await net.connect()
    deny = Rule(source="web", destination="db", action="deny", precedence=9)
    state = net.mesh.sources["db"].state
    net.mesh.sources["db"].change(rules=(*(state.rules or ()), deny))
    first, headers, _ = await ask(reader, writer, "/plain")
    assert first.split()[1] == "403" and "x-lictor-reference" in headers
    net.mesh.sources["db"].change(rules=(replace(deny, action="allow"),))
    assert (await ask(reader, writer, "/plain"))[2] == b"hello"
