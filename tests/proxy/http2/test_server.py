"""HTTP/2 through two sidecars in one loop, by clients and applications good and bad."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.authz import Permission, Rule
from proxy.balance.hosts import Host
from proxy.l7.routes import read_chain
from proxy.revocations import of_entries
from proxy.server import Proxy
from proxy.source import UpstreamSpec
from proxy.spiffe import SpiffeId
from tests.proxy.http2.talk import Answers, Talk, application, heard, telling
from tests.proxy.mesh import Mesh, endpoint, until

SPEC = UpstreamSpec(name="db", bind_port=-1)


@dataclass
class Pair:
    """web's local port for db, over two sidecars."""

    mesh: Mesh
    web: Proxy
    db: Proxy
    talks: list[Talk] = field(default_factory=list)

    async def connect(self) -> Talk:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.web.port(SPEC.key))
        talk = Talk(reader, writer, client=True)
        self.talks.append(talk)
        return talk


Make = Callable[..., Awaitable[Pair]]


def chain(destination: dict[str, Any]) -> Any:
    match = {"HTTP": {"PathPrefix": "/"}}
    route = {
        "Definition": {"Match": match, "Destination": destination},
        "NextNode": "resolver:db",
    }
    return read_chain(
        {
            "Protocol": "http2",
            "StartNode": "r",
            "Nodes": {
                "r": {"Type": "router", "Routes": [route]},
                "resolver:db": {"Type": "resolver", "Resolver": {"Target": "db"}},
            },
            "Targets": {"db": {"Service": "db", "Datacenter": "dc1"}},
        }
    )


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    mesh, pairs = Mesh(), []
    async with mesh.stack:

        async def made(
            answers: Answers = telling,
            *,
            serve: Any = None,
            rules: tuple[Rule, ...] = (),
            destination: dict[str, Any] | None = None,
        ) -> Pair:
            app_port = await mesh.app(serve or application(answers))
            db = await mesh.sidecar("db", app_port=app_port, rules=rules)
            mesh.sources["db"].change(protocol="http2")
            web = await mesh.sidecar("web", upstreams=[SPEC], endpoints={SPEC.key: (endpoint(db),)})
            host = Host(("n1", "db"), "127.0.0.1", endpoint(db).port)
            mesh.sources["web"].change(
                chains={SPEC.key: chain(destination or {})}, hosts={"db": (host,)}
            )
            pair = Pair(mesh, web, db)
            pairs.append(pair)
            return pair

        yield made
        for pair in pairs:
            for talk in pair.talks:
                talk.writer.transport.abort()


async def test_requests_at_once_share_one_connection_each_way(make: Make) -> None:
    pair = await make()
    talk = await pair.connect()
    streams = [talk.ask(f"/{n}") for n in range(50)]
    for number, stream in enumerate(streams):
        got = await talk.answer(stream)
        assert got.headers[":status"] == "200" and got.headers["x-who"] == f"/{number}"
        assert got.trailers == {"x-after": "yes"}
    assert pair.db.connections.total("inbound") == 1


async def test_a_body_larger_than_every_window_arrives_whole(make: Make) -> None:
    pair = await make()
    talk = await pair.connect()
    stream = talk.ask("/", method="POST", ended=False)
    left = 1_000_000
    while left:
        room = min(talk.codec.local_flow_control_window(stream), 16_384, left)
        if room:
            talk.codec.send_data(stream, b"x" * room, end_stream=room == left)
            talk.flush()
            left -= room
        else:
            assert await talk.more()
    assert (await talk.answer(stream)).body == b"1000000"


async def test_each_request_is_authorised_on_the_path_that_is_forwarded(make: Make) -> None:
    admin = Permission(action="deny", path_form="prefix", path="/admin")
    rest = Permission(action="allow", path_form="prefix", path="/")
    rule = Rule(
        source="web", destination="db", action="", permissions=2, matches=(admin, rest),
        precedence=9,
    )  # fmt: skip
    pair = await make(rules=(rule,))
    talk = await pair.connect()
    for path in ("/admin", "/x/../admin", "//admin", "/%61dmin", "/a%2fb", "/admin/x?y"):
        got = await talk.answer(talk.ask(path))
        assert got.headers[":status"] in ("400", "403"), path
    got = await talk.answer(talk.ask("/x/./y"))
    assert got.headers["x-who"] == "/x/y"


async def test_a_call_of_grpc_is_denied_by_a_status(make: Make) -> None:
    pair = await make(rules=(Rule(source="web", destination="db", action="deny", precedence=9),))
    talk = await pair.connect()
    got = await talk.answer(talk.ask("/a/B", ("content-type", "application/grpc"), method="POST"))
    # At layer 4 nobody gets in at all: the connection of the sidecar is closed.
    assert got.headers[":status"] == "200" and got.headers["grpc-status"] == "14"


async def test_whoever_resets_rapidly_is_ended_and_others_are_not(make: Make) -> None:
    pair = await make()
    bad, good = await pair.connect(), await pair.connect()
    ended = False
    for _ in range(40):
        for _ in range(50):
            stream = bad.ask("/")
            bad.codec.reset_stream(stream, 8)
        bad.flush()
        await asyncio.sleep(0)
    while not ended:
        ended = not await bad.more()
    assert bad.goaway == 0xB
    assert (await good.answer(good.ask("/"))).headers[":status"] == "200"
    assert pair.web._http.stats.violations >= 1


async def test_a_stream_that_is_reset_as_it_is_opened_leaves_nothing(make: Make) -> None:
    pair = await make()
    talk = await pair.connect()
    assert (await talk.answer(talk.ask("/"))).headers[":status"] == "200"
    (server,) = pair.web._http._servers
    for _ in range(20):
        head = [(":method", "POST"), (":scheme", "http"), (":authority", "db"), (":path", "/")]
        stream = talk.codec.get_next_available_stream_id()
        talk.codec.send_headers(stream, head)
        talk.codec.send_data(stream, b"x" * 1000)
        talk.codec.reset_stream(stream, 8)
    talk.flush()
    assert (await talk.answer(talk.ask("/"))).headers[":status"] == "200"
    await until(lambda: not server.session.streams and not server._tasks, "nothing left")


async def test_what_breaks_the_rules_ends_its_stream(make: Make) -> None:
    pair = await make()
    talk = await pair.connect()
    talk.codec.config.validate_outbound_headers = False
    talk.codec.config.normalize_outbound_headers = False
    good = talk.ask("/")
    bad = talk.ask("/", ("connection", "close"))
    assert (await talk.answer(bad)).reset == 1
    assert (await talk.answer(good)).headers[":status"] == "200"


async def test_a_client_that_leaves_takes_its_request_with_it(make: Make) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = Talk(reader, writer, client=False)
        while await talk.more():
            for stream in talk.asked:
                asked.set()
                if talk.streams[stream].reset is not None:
                    gone.set()

    pair = await make(serve=serve)
    talk = await pair.connect()
    stream = talk.ask("/")
    await asyncio.wait_for(asked.wait(), 30)
    talk.codec.reset_stream(stream, 8)
    talk.flush()
    await asyncio.wait_for(gone.wait(), 30)
    await until(
        lambda: pair.web._http._upstreams[SPEC.key].admission.running == 0, "nothing is left", 30
    )


async def test_an_application_that_breaks_off_breaks_off_downstream(make: Make) -> None:
    async def cut(talk: Talk, stream: int) -> None:
        talk.codec.send_headers(stream, [(":status", "200")])
        talk.codec.send_data(stream, b"half")
        talk.codec.reset_stream(stream, 0xB)

    pair = await make(cut)
    talk = await pair.connect()
    got = await talk.answer(talk.ask("/"))
    assert got.reset == 0xB and not got.ended


async def test_a_slow_reader_holds_nobody_up(make: Make) -> None:
    async def flood(talk: Talk, stream: int) -> None:
        talk.codec.send_headers(stream, [(":status", "200")])
        if talk.streams[stream].headers[":path"] == "/small":
            talk.codec.send_data(stream, b"here", end_stream=True)
            return
        left = 200
        while left:
            if talk.codec.local_flow_control_window(stream) < 1000:
                return
            talk.codec.send_data(stream, b"x" * 1000, end_stream=left == 1)
            left -= 1

    pair = await make(flood)
    talk, other = await pair.connect(), await pair.connect()
    talk.greedy = False
    slow = [talk.ask("/big") for _ in range(20)]
    assert (await other.answer(other.ask("/small"))).body == b"here"
    assert not any(talk.streams[each].ended for each in slow)


async def test_draining_lets_requests_finish_and_takes_no_new_ones(make: Make) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def late(talk: Talk, stream: int) -> None:
        asked.set()
        await go.wait()
        await telling(talk, stream)

    pair = await make(late)
    talk = await pair.connect()
    stream = talk.ask("/")
    await asyncio.wait_for(asked.wait(), 30)
    drained = asyncio.get_running_loop().create_task(pair.web._http.drained(20.0))
    await talk.more()
    go.set()
    got = await talk.answer(stream)
    assert got.headers[":status"] == "200" and got.ended
    while await talk.more():  # until the sidecar ends the connection
        pass
    talk.writer.close()
    assert await drained
    assert talk.goaway == 0


async def test_a_host_that_speaks_no_http2_is_an_answer_not_a_hang(make: Make) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    pair = await make(serve=serve)
    talk = await pair.connect()
    assert (await talk.answer(talk.ask("/"))).headers[":status"] == "503"


async def test_what_is_no_http2_is_closed(make: Make) -> None:
    pair = await make()
    reader, writer = await asyncio.open_connection("127.0.0.1", pair.web.port(SPEC.key))
    writer.write(b"GET / HTTP/1.1\r\nHost: db\r\n\r\n")
    await asyncio.wait_for(reader.read(), 30)
    assert reader.at_eof()
    writer.close()


async def test_calls_are_tried_again_where_the_route_says_so(make: Make) -> None:
    seen: list[str] = []

    async def unavailable(talk: Talk, stream: int) -> None:
        seen.append(talk.streams[stream].headers.get("x-lictor-attempt", "1"))
        status = "14" if len(seen) < 3 else "0"
        head = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", status)]
        talk.codec.send_headers(stream, head, end_stream=True)

    pair = await make(unavailable, destination={"NumRetries": 3, "RetryOn": ["unavailable"]})
    talk = await pair.connect()
    got = await talk.answer(talk.ask("/a/B", ("content-type", "application/grpc"), method="POST"))
    assert got.headers["grpc-status"] == "0"
    assert seen == ["1", "2", "3"]


async def test_a_deadline_of_the_caller_ends_the_call(make: Make) -> None:
    async def never(talk: Talk, stream: int) -> None:
        pass

    pair = await make(never)
    talk = await pair.connect()
    kind = ("content-type", "application/grpc")
    got = await talk.answer(talk.ask("/a/B", kind, ("grpc-timeout", "100m"), method="POST"))
    assert got.headers["grpc-status"] == "4"


GRPC = (("content-type", "application/grpc"), ("te", "trailers"))


async def streaming(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An application whose calls never end: it greets, then sends back what comes."""
    talk, sent = Talk(reader, writer, client=False), dict[int, int]()
    while await heard(talk):
        for stream in talk.asked:
            talk.codec.send_headers(stream, [(":status", "200"), *GRPC[:1]])
            talk.codec.send_data(stream, b"hello")
            sent[stream] = 0
        talk.asked.clear()
        for stream, said in sent.items():
            got = talk.streams[stream]
            if got.reset is None and got.body[said:]:
                talk.codec.send_data(stream, got.body[said:])
                sent[stream] = len(got.body)
        talk.flush()


async def opened(make: Make, *paths: str) -> tuple[Pair, Talk, list[int]]:
    """Calls of gRPC that stand, and have said something both ways."""
    pair = await make(serve=streaming)
    talk = await pair.connect()
    calls = [talk.ask(path, *GRPC, method="POST", ended=False) for path in paths]
    for call in calls:
        await echoed(talk, call, b"A")
    return pair, talk, calls


async def echoed(talk: Talk, call: int, letter: bytes) -> None:
    talk.codec.send_data(call, letter)
    talk.flush()
    while not talk.streams[call].body.endswith(letter):
        assert await talk.more()


async def test_new_rules_reset_calls_under_way_and_leave_others_alone(make: Make) -> None:
    pair, talk, (stays, cut, also) = await opened(make, "/stays", "/cut", "/cut")
    rule = Rule(
        source="web", destination="db", action="", permissions=1, precedence=9,
        matches=(Permission(action="allow", path_form="exact", path="/stays"),
                 Permission(action="deny", path_form="prefix", path="/")),
    )  # fmt: skip
    pair.mesh.sources["db"].change(rules=(rule,))
    for call in (cut, also):
        got = await talk.answer(call)
        assert got.reset is not None and not got.ended, "the stream is reset, not the connection"
    await echoed(talk, stays, b"B")
    assert pair.db.stats().events["cut", "intention_changed"] == 1
    pair.mesh.sources["db"].change(rules=(), default_allow=False)
    assert (await talk.answer(stays)).reset is not None, "nor does a default let it go on"


@pytest.mark.parametrize("holder", ["web", "db"])
async def test_calls_end_with_a_certificate_that_is_revoked(make: Make, holder: str) -> None:
    pair, talk, (call,) = await opened(make, "/")
    other = "db" if holder == "web" else "web"
    uri = SpiffeId.service(pair.mesh.authority.trust_domain, "dc1", holder).uri
    pair.mesh.sources[other].change(revoked=of_entries([("", uri, time.time() + 600.0)]))
    assert (await talk.answer(call)).reset is not None
    assert pair.mesh.proxies[other].stats().events["cut", "certificate_revoked"] == 1


async def test_an_old_connection_lets_its_calls_finish(make: Make) -> None:
    pair, talk, (call,) = await opened(make, "/")
    (handler,) = pair.db._http._handlers.values()
    handler.grown_old()
    (server,) = pair.db._http._servers
    assert server.session.leaving
    await echoed(talk, call, b"B")
