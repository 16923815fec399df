"""The short way and the long way answer alike, byte for byte but the date."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.config.schema import AgentConfig
from agent.errors import NoClusterLeader
from agent.http.kept import KeptReads
from agent.http.reply import LONG_ITEMS
from agent.http.server import HttpServer
from raftstore.commands import KVSet, Register
from raftstore.errors import NoLeader
from raftstore.records import Node, NodeName, Service, ServiceId
from tests.agent.http.rig import Client, Rig, make_config, small_limits
from tests.agent.http.test_server import until
from tests.strategies import scaled

_DATE = re.compile(rb"\r\nDate: [^\r]*")


class Wire:
    """A connection that sends pieces and gives back answers as they came, less the date."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Wire:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def answer(self, *, head_only: bool = False) -> bytes:
        try:
            async with asyncio.timeout(5):
                head = await self.reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"HTTP/1.1 100"):
                    head += await self.reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"Content-Length: (\d+)", head)
                body = b""
                if length and not head_only:
                    body = await self.reader.readexactly(int(length[1]))
                return _DATE.sub(b"", head) + body
        except (asyncio.IncompleteReadError, ConnectionError):
            return b"closed"

    async def exchange(self, pieces: list[bytes], answers: int, *, head_only: bool) -> list[bytes]:
        for piece in pieces:
            self.writer.write(piece)
            if len(pieces) > 1:
                await asyncio.sleep(0.001)  # so that the pieces arrive as such, mostly
        return [await self.answer(head_only=head_only) for _ in range(answers)]


targets = st.builds(
    lambda path, query: path + ("?" + "&".join(query) if query else ""),
    st.sampled_from(
        [
            "/v1/kv/a", "/v1/kv/b/c", "/v1/kv/", "/v1/kv", "/v1/kv//a", "/v1/kv/a%2Fb",
            "/v1/kv/%zz", "/v1/health/service/web", "/v1/health/service/",
            "/v1/catalog/service/web",
            "/v1/catalog/register", "/v1/catalog/nodes", "/v1/status/leader", "/v1/nope", "/",
            "/v1/kv/%C3%A9t%C3%A9", "/v1/kv/%00", "http://x/v1/kv/a",
        ]
    ),
    st.lists(
        st.sampled_from(
            [
                "raw", "stale", "consistent", "pretty", "recurse", "keys", "passing", "passing=x",
                "cas=0", "cas=x", "flags=3", "flags=-1", "dc=dc1", "dc=other", "max_stale=1s",
                "index=1&wait=1ms", "index=x", "wait=10", "ns=x", "%zz", "acquire=y", "tag=v1",
                "filter=Service.Port==1", "filter=(", "separator=/", "cached", "near=_agent",
            ]
        ),
        max_size=3,
    ),
)  # fmt: skip
registration = b'{"Node":"n2","Address":"10.0.0.2","Service":{"Service":"web","Port":%d}}'
bodies = st.one_of(
    st.binary(max_size=40),
    st.integers(0, 9).map(lambda port: registration % port),
    st.just(b"{"),
    st.sampled_from([100, 101, 2000]).map(lambda size: b"x" * size),
)
headers = st.lists(
    st.sampled_from(
        [
            "Accept-Encoding: gzip", "User-Agent: a", "Cache-Control: max-age=0",
            "Cache-Control: max-age=x", "Connection: keep-alive", "Connection: close",
            "X-Consul-Token: t", "Expect: 100-continue",
        ]
    ),
    max_size=2,
    unique=True,
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes]:
    method = draw(st.sampled_from(["GET", "GET", "GET", "PUT", "PUT", "DELETE", "HEAD", "OPTIONS"]))
    lines = [f"{method} {draw(targets)} HTTP/1.1", "Host: x", *draw(headers)]
    body = draw(bodies) if method == "PUT" else b""
    if body or method == "PUT":
        name = draw(st.sampled_from(["Content-Length", "Content-Length", "content-length"]))
        lines.append(f"{name}: {len(body)}")
    return method, "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@st.composite
def steps(draw: st.DrawFn) -> tuple[list[bytes], int, bool]:
    """What is sent at once or in pieces, how many answers it has, and whether without bodies."""
    method, data = draw(requests())
    match draw(st.sampled_from(["whole", "whole", "whole", "whole", "cut", "twice"])):
        case "cut":
            at = draw(st.integers(1, len(data) - 1))
            return [data[:at], data[at:]], 1, method == "HEAD"
        case "twice":
            return [data + data], 2, method == "HEAD"
        case _:
            return [data], 1, method == "HEAD"


scripts = st.lists(st.lists(steps(), min_size=1, max_size=8), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture(scope="module")
def ways(loop: asyncio.AbstractEventLoop) -> Iterator[tuple[Rig, Rig, Rig]]:
    """A server's short way, that of an agent that is none, and the long way."""
    limits = small_limits(kv_max_value_size=1000, http_max_conns_per_client=100)
    config = make_config(limits=limits)
    made = Rig(config), far_rig(config), Rig(config, prompt=False)
    for rig in made:
        loop.run_until_complete(rig.start())
    yield made
    for rig in made:
        loop.run_until_complete(rig.stop())


async def play(rig: Rig, script: list[list[tuple[list[bytes], int, bool]]]) -> list[bytes]:
    """One connection after the other; all the answers."""
    heard = []
    for connection in script:
        async with Wire(rig.port) as wire:
            for pieces, answers, head_only in connection:
                heard += await wire.exchange(pieces, answers, head_only=head_only)
                if heard[-1] == b"closed":
                    break
    return heard


# Fifty scripts of several requests each: a minute of a busy machine, else a few seconds.
@pytest.mark.timeout(180)
@settings(max_examples=scaled(25), deadline=None, suppress_health_check=list(HealthCheck))
@given(script=scripts)
def test_all_ways_give_the_same_bytes(
    loop: asyncio.AbstractEventLoop,
    ways: tuple[Rig, Rig, Rig],
    script: list[list[tuple[list[bytes], int, bool]]],
) -> None:
    short, far, long = [loop.run_until_complete(play(rig, script)) for rig in ways]
    assert short == long
    assert far == long


def test_the_short_ways_were_gone(
    loop: asyncio.AbstractEventLoop, ways: tuple[Rig, Rig, Rig]
) -> None:
    one = [([b"GET /v1/kv/z HTTP/1.1\r\nHost: x\r\n\r\n"], 1, False)] * 5
    for rig in ways[:2]:
        before = rig.server.stats().prompt_answers
        loop.run_until_complete(play(rig, [one]))
        assert rig.server.stats().prompt_answers >= before + 4
    assert ways[2].server.stats().prompt_answers == 0


def far_rig(config: AgentConfig) -> Rig:
    """An agent that is no server: it asks another, and changes through another."""
    rig = Rig(config, prompt=False)
    far = replace(rig.context, prompt_changes=rig.backend, prompt_questions=rig.backend)
    rig.context, rig.server = far, HttpServer(far)
    return rig


@pytest.fixture
async def prompt() -> AsyncIterator[Rig]:
    running = await Rig(make_config()).start()
    try:
        yield running
    finally:
        await running.stop()


async def test_a_kept_read_follows_its_index(prompt: Rig) -> None:
    async with Client(prompt.port) as client:
        for number in range(4):
            await client.ask("PUT", "/v1/kv/a", b"%d" % number)
            for _ in range(2):
                got = await client.get("/v1/kv/a?raw")
                assert got.text == str(number)
        stats = prompt.server.stats()
    assert stats.prompt_answers == 12 and stats.ready_answers_hits == 4


async def test_kept_reads_are_bounded(prompt: Rig) -> None:
    answers = prompt.server._prompt
    assert answers is not None
    answers.kept = KeptReads(small_limits(http_kept_replies_max=5, http_kept_replies_max_size=2000))
    async with Client(prompt.port) as client:
        for number in range(20):
            await client.ask("PUT", f"/v1/kv/{number}", b"x" * 300)
            assert len((await client.get(f"/v1/kv/{number}?raw")).body) == 300
    assert len(answers.kept) < 5 and 0 < answers.kept.bytes <= 2000
    assert answers.kept.bytes == sum(kept.size for kept in answers.kept)


async def test_a_read_that_is_pushed_out_on_its_way_is_not_counted(prompt: Rig) -> None:
    answers = prompt.server._prompt
    assert answers is not None
    answers.kept = KeptReads(small_limits(http_kept_replies_max=1))
    async with Client(prompt.port) as first, Client(prompt.port) as second:
        for client in (first, second):
            assert (await client.get("/v1/kv/none")).status == 404
        held: list[object] = []
        prompt.backend.fresh_soon = held.append  # type: ignore[method-assign, assignment]
        for number, client in enumerate((first, second), 1):
            await client.send("GET", f"/v1/kv/{number}")
            await until(lambda number=number: len(held) == number)
        for done in held:
            done(None)  # type: ignore[operator]
        for client in (first, second):
            assert (await client.receive()).status == 404
    assert answers.kept.bytes == sum(kept.size for kept in answers.kept) > 0


async def test_a_large_answer_goes_the_long_way(prompt: Rig) -> None:
    async with Client(prompt.port) as client:
        await client.ask("PUT", "/v1/kv/big", b"x" * 500_000)
        before = prompt.server.stats().prompt_answers
        for _ in range(3):
            assert len((await client.get("/v1/kv/big?raw")).body) == 500_000
        assert prompt.server.stats().prompt_answers == before
        assert (await client.get("/v1/kv/none")).status == 404
        assert prompt.server.stats().prompt_answers == before + 1


async def test_a_failure_of_the_backend_has_its_status(prompt: Rig) -> None:
    async with Client(prompt.port) as client:
        assert (await client.get("/v1/catalog/service/web")).status == 200
        prompt.backend.failure = NoLeader()
        for method in ("GET", "PUT"):
            got = await client.ask(method, "/v1/kv/a", b"x" if method == "PUT" else None)
            assert (got.status, got.text) == (500, "No cluster leader")
        got = await client.get("/v1/catalog/service/web")
        assert got.headers["x-consul-knownleader"] == "false"
        assert (await client.get("/v1/kv/a?stale")).status == 404
    assert prompt.server.stats().internal_errors == 0
    assert prompt.server.stats().prompt_answers == 5


async def test_our_own_bug_in_a_reply_is_told_once(prompt: Rig) -> None:
    node = Node(name=NodeName("n2"), address="10.0.0.2")
    broken = Service(id=ServiceId("s"), name="web", meta={"a": object()})  # no JSON
    await prompt.backend.change(Register(node=node, service=broken))
    async with Client(prompt.port) as client:
        assert (await client.get("/v1/health/service/web")).status == 500
        assert (await client.get("/v1/kv/a")).status == 404
    assert prompt.server.stats().internal_errors == 1


async def test_what_comes_while_an_answer_is_on_its_way_waits_for_it(prompt: Rig) -> None:
    held: list[object] = []
    prompt.backend.fresh_soon = held.append  # type: ignore[method-assign, assignment]
    async with Client(prompt.port) as client:
        await client.send("GET", "/v1/kv/a")
        await until(lambda: len(held) == 1)
        for _ in range(3):
            await client.send("GET", "/v1/kv/b?stale")
            await asyncio.sleep(0)
        await client.send("PUT", "/v1/nope", b"x")
        assert len(held) == 1
        held[0](None)  # type: ignore[operator]
        assert [(await client.receive()).status for _ in range(5)] == [404] * 5


async def test_a_client_that_went_away_is_not_answered(prompt: Rig) -> None:
    held: list[object] = []
    prompt.backend.fresh_soon = held.append  # type: ignore[method-assign, assignment]
    async with Client(prompt.port) as client:
        await client.send("GET", "/v1/kv/a")
        await until(lambda: len(held) == 1)
    await until(lambda: prompt.server.stats().connections_open == 0)
    held[0](None)  # type: ignore[operator]
    async with Client(prompt.port) as other:
        assert (await other.get("/v1/kv/a?stale")).status == 404


async def test_a_stop_lets_a_change_on_its_way_be_answered() -> None:
    rig = await Rig(make_config()).start()
    held: list[object] = []
    original = rig.backend.change_soon
    rig.backend.change_soon = lambda *given: held.append(given)  # type: ignore[method-assign]
    async with Client(rig.port) as client:
        await client.send("PUT", "/v1/kv/a", b"x")
        await until(lambda: len(held) == 1)
        stopping = asyncio.get_running_loop().create_task(rig.stop())
        await asyncio.sleep(0.05)
        assert not stopping.done()
        original(*held[0])  # type: ignore[misc]
        assert (await client.receive()).json is True
        await stopping


async def test_prompt_answers_keep_a_connection_from_being_idle(prompt: Rig) -> None:
    connections = prompt.server._connections
    assert connections is not None
    connections._limits = small_limits(http_idle_timeout_s=0.3)
    connections._options["keepalive_timeout"] = 0.3
    loop = asyncio.get_running_loop()
    async with Client(prompt.port) as client:
        began = loop.time()
        while loop.time() < began + 0.8:
            assert (await client.get("/v1/kv/a")).status == 404
            await asyncio.sleep(0.05)
        assert await asyncio.wait_for(client.reader.read(), 5) == b""
        assert prompt.server.stats().prompt_answers > 5


async def test_an_agent_that_is_no_server_keeps_no_answer_and_tells_failures() -> None:
    rig = far_rig(make_config())
    await rig.start()
    try:
        async with Client(rig.port) as client:
            for number in range(3):
                rig.backend.apply(KVSet(key="a", value=b"%d" % number), None)
                assert (await client.get("/v1/kv/a?raw")).text == str(number)
            assert rig.server.stats().prompt_answers >= 2
            rig.backend.failure = NoClusterLeader()
            failed = await client.get("/v1/kv/a?raw")
            assert (failed.status, failed.text) == (500, "No cluster leader")
            rig.backend.failure = None
            assert (await client.get("/v1/kv/a?index=1&wait=1ms&raw")).text == "2"
    finally:
        await rig.stop()


async def test_a_long_answer_from_elsewhere_goes_the_long_way() -> None:
    rig = far_rig(make_config())
    await rig.start()
    try:
        for number in range(LONG_ITEMS + 1):
            rig.backend.apply(KVSet(key=f"k{number:04}"), None)
        async with Client(rig.port) as client:
            for _ in range(2):
                assert len((await client.get("/v1/kv/k?recurse")).json) == LONG_ITEMS + 1
    finally:
        await rig.stop()
