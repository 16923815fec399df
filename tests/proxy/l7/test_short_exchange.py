"""Requests with bodies on the short way: as on the long way, whatever either side does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from proxy.l7.short import ShortWay
from tests.proxy.l7.net import SPEC, chain, head_of
from tests.proxy.l7.pair import Net, answer, ask, pair
from tests.proxy.mesh import until

BIG = 48 << 20
_NEW = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class App:
    """Reads each body and answers with it. ``/early`` answers before, ``/none`` ends instead of
    answering, ``/busy`` says 503, ``/wait`` reads nothing before it may, ``/never`` only reads."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.heads: list[str] = []
        self.free = asyncio.Event()
        self.open = 0
        self.read = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, headers = await head_of(reader)
        self.heads.append(first)
        path = first.split()[1]
        if path == "/early":
            writer.write(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
        if path == "/wait":
            await self.free.wait()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int((await reader.readuntil(b"\n")), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            assert await reader.readuntil(b"\n") == b"\r\n"
        else:
            body = await self._sized(reader, int(headers.get("content-length") or 0))
        self.seen.append((first, headers, body))
        if path == "/none":
            return False
        if path in ("/early", "/never"):
            return True
        told = body if len(body) < 1000 else b"%d" % len(body)
        status = b"503 No" if path == "/busy" else b"200 OK"
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(told), told))
        await writer.drain()
        return True

    async def _sized(self, reader: asyncio.StreamReader, left: int) -> bytes:
        pieces = []
        while left:
            data = await reader.read(min(left, 1 << 20))
            if not data:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(data)
            self.read += len(data)
            pieces.append(data)
        return b"".join(pieces)


@pytest.fixture
async def net() -> AsyncIterator[Net[App]]:
    async with pair(App()) as made:
        yield made


def request(path: str, body: bytes, *, method: str = "POST", chunked: bool = False) -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    return f"{method} {path} HTTP/1.1\r\nHost: db\r\n{framing}\r\n\r\n".encode() + body


async def write(writer: asyncio.StreamWriter, *pieces: bytes) -> None:
    """One after another, so that they come apart most times."""
    for piece in pieces:
        writer.write(piece)
        for _ in range(4):
            await asyncio.sleep(0)


CHUNKS = b"5\r\nhello\r\n3;a=b\r\nabc\r\n0\r\nTrailer: x\r\n\r\n"


async def test_both_ways_say_the_same(net: Net[App], monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [
        request("/a", b"hello"), request("/a", b""), request("/a", b"hello", method="PUT"),
        request("/a?x=%2f", CHUNKS, chunked=True), request("/a", b"x" * 100_000),
        request("/a", b"hello", method="GET"), request("/a", b"hello", method="DELETE"),
        request("/busy", b"no"), request("/a", b"0\r\n\r\n", chunked=True),
        request("/a", b"last").replace(b"Host", b"Connection: close\r\nHost"),
        b"POST /a HTTP/1.1\r\nHost: db\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: db\r\n\r\n",
    ]  # fmt: skip
    found: list[list[Any]] = []
    for short in (True, False):
        if not short:
            monkeypatch.setattr(ShortWay, "take", lambda self, data: False)
        before, told = net.short, list[Any]()
        for raw in cases:
            head = raw.index(b"\r\n\r\n") + 4
            for cut in (len(raw), len(raw) - 3, head):
                reader, writer = await net.connect()
                await write(writer, raw[:cut], raw[cut:])
                said = await answer(reader)
                told.append((raw, said, _NEW.sub("id", str(net.app.seen[-1]))))
                writer.close()
        found.append(told)
        gone = [now - then for now, then in zip(net.short, before, strict=True)]
        assert min(gone) >= 5 * len(cases) if short else max(gone) == 0
    for one, other in zip(*found, strict=True):
        assert one == other
    await until(net.idle, "nothing is under way")


async def test_requests_one_after_another_without_waiting(net: Net[App]) -> None:
    reader, writer = await net.connect()
    before = net.short[0]
    many = [request("/a", b"%d" % number) for number in range(8)]
    many[3] = request("/a", b"1\r\n3\r\n0\r\n\r\n", chunked=True)
    writer.write(b"".join(many))
    assert [(await answer(reader))[2] for _ in many] == [b"%d" % number for number in range(8)]
    assert net.short[0] == before + len(many)


@pytest.mark.long  # how much fits into the kernel's buffers on its way is not ours to say
async def test_a_host_that_does_not_read_holds_the_client_up(net: Net[App]) -> None:
    reader, writer = await net.connect()
    before = net.short
    writer.write(request("/wait", b"x" * BIG))
    transport: Any = writer.transport
    still, last = 0, 0

    def stuck() -> bool:
        nonlocal still, last
        size = transport.get_write_buffer_size()
        still = still + 1 if size == last and size else 0
        last = size
        return still > 20

    await until(stuck, "the client is held up")
    net.app.free.set()
    assert (await answer(reader))[2] == b"%d" % BIG
    assert net.app.seen[-1][2] == b"x" * BIG
    assert net.short[0] == before[0] + 1
    await until(net.idle, "nothing is under way")


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
async def test_an_answer_before_the_end_of_the_body_spoils_no_connection(
    net: Net[App], monkeypatch: pytest.MonkeyPatch, short: bool, chunked: bool
) -> None:
    """Whoever left the rest of a body out of a connection that is used again would have the next
    request, which may be somebody else's, read as a body."""
    if not short:
        monkeypatch.setattr(ShortWay, "take", lambda self, data: False)
    reader, writer = await net.connect()
    head, rest = (b"4\r\nhe", b"ll\r\n0\r\n\r\n") if chunked else (b"he", b"ll")
    raw = request("/early", CHUNKS if chunked else b"hell", chunked=chunked)
    raw = raw[: raw.index(b"\r\n\r\n") + 4]
    writer.write(raw + head)
    assert (await answer(reader))[0].split()[1] == "413"
    other, also = await net.connect()  # where the host's connections are whole
    assert (await ask(other, also, "/b"))[0].split()[1] == "200"
    writer.write(rest)
    for number in range(3):
        assert (await ask(reader, writer, f"/after{number}"))[0].split()[1] == "200"
    assert all(re.fullmatch(r"(GET|POST) /\w+ HTTP/1.1", head) for head in net.app.heads)
    if short:
        assert net.app.seen[-4][2] == b"hell", "the rest went on"
    await until(net.idle, "nothing is under way")


async def poured(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> bool:
    """Whether so much was taken before the connection ended."""
    try:
        for _ in range(size // 65_536):
            writer.write(b"x" * 65_536)
            await writer.drain()
            if reader.at_eof():
                return False
    except OSError:
        return False
    return True


async def test_a_long_body_after_its_answer_ends_the_connection(net: Net[App]) -> None:
    reader, writer = await net.connect()
    head = request("/early", b"x" * BIG)[: -BIG + 10]
    writer.write(head)
    assert (await answer(reader))[0].split()[1] == "413"
    assert not await poured(reader, writer, BIG)
    await until(net.idle, "nothing is under way")


async def test_a_body_that_breaks_the_rules_ends_its_connection_and_blames_nobody(
    net: Net[App],
) -> None:
    for _ in range(8):  # more would have ejected the host
        reader, writer = await net.connect()
        raw = request("/a", CHUNKS, chunked=True)
        writer.write(raw[:-30])
        await until(lambda: net.app.heads[-1].startswith("POST"), "the application is asked")
        writer.write(b"zz\r\n")
        status = (await answer(reader))[0].split()[1]
        assert status == "400" and await reader.read() == b""
        writer.close()
    await until(net.idle, "nothing is under way")
    reader, writer = await net.connect()
    assert (await ask(reader, writer, "/a"))[0].split()[1] == "200"


async def test_a_client_that_leaves_in_its_body_frees_what_it_held(net: Net[App]) -> None:
    _, writer = await net.connect()
    before = net.short[0]
    writer.write(request("/a", b"hello")[:-2])
    await until(lambda: net.app.heads[-1].startswith("POST"), "the application is asked")
    assert net.short[0] == before + 1
    writer.close()
    await until(net.idle, "the request has ended")
    await until(lambda: not net.app.open, "its connections are gone")


async def test_a_body_that_does_not_come_has_its_time(net: Net[App]) -> None:
    gateway = net.web._http
    gateway._limits = replace(gateway._limits, body_idle_s=0.2)
    reader, writer = await net.connect()
    writer.write(request("/a", b"hello")[:-2])
    assert (await answer(reader))[0].split()[1] == "408"
    assert await reader.read() == b""
    await until(net.idle, "the request has ended")


async def test_time_runs_out_after_the_body(net: Net[App]) -> None:
    soon = chain(destination={"RequestTimeout": "300ms"})
    net.mesh.sources["web"].change(chains={SPEC.key: soon})
    reader, writer = await net.connect()
    await write(writer, request("/never", b"hello")[:-2], b"lo")
    assert (await answer(reader))[0].split()[1] == "504"
    assert (await ask(reader, writer, "/a"))[0].split()[1] == "200"
    await until(net.idle, "nothing is under way")


async def test_what_may_have_happened_is_not_asked_twice(net: Net[App]) -> None:
    for method, times in (("POST", 1), ("GET", 2)):
        reader, writer = await net.connect()
        before = len(net.app.seen)
        writer.write(request("/none", b"hello", method=method))
        assert (await answer(reader))[0].split()[1] == "502"
        assert len(net.app.seen) >= before + times
        bodies = {(first, body) for first, _, body in net.app.seen[before:]}
        assert bodies == {(f"{method} /none HTTP/1.1", b"hello")}
        if times == 1:
            assert len(net.app.seen) == before + 1
    await until(net.idle, "nothing is under way")


async def test_what_the_route_repeats_is_repeated_with_its_body(net: Net[App]) -> None:
    again = chain(destination={"NumRetries": 2, "RetryOnStatusCodes": [503]})
    net.mesh.sources["web"].change(chains={SPEC.key: again})
    reader, writer = await net.connect()
    size = len(net.app.seen)
    raw = request("/busy", CHUNKS, method="PUT", chunked=True)
    await write(writer, raw[:-9], raw[-9:])
    assert (await answer(reader))[0].split()[1] == "503"
    seen = [(each[1].get("x-lictor-attempt"), each[2]) for each in net.app.seen[size:]]
    assert seen == [(None, b"helloabc"), ("2", b"helloabc"), ("3", b"helloabc")]
    await until(net.idle, "nothing is under way")
