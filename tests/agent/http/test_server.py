"""The server on real sockets: conventions, errors, bounds, and what strangers send."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agent.config.schema import WebUi
from agent.errors import ForwardError, NoClusterLeader, NoServers, RequestError
from agent.http.connections import Pace
from agent.http.server import HttpServer
from raftstore.errors import LeadershipLost, NoLeader, ProposalTimeout, QueueFull
from tests.agent.http.rig import Client, Rig, make_config, small_limits


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def tight() -> AsyncIterator[Rig]:
    """A server with small limits."""
    limits = small_limits(
        http_max_conns_per_client=3,
        blocking_queries_max=1,
        http_body_max=200,
        kv_max_value_size=100,
    )
    running = await Rig(make_config(limits=limits)).start()
    try:
        yield running
    finally:
        await running.stop()


# -- conventions ---------------------------------------------------------------------------------


async def test_api_replies_carry_policy_and_vary_and_others_do_not(client: Client) -> None:
    got = await client.get("/v1/status/leader")
    assert got.headers["x-consul-default-acl-policy"] == "allow"
    assert got.headers["vary"] == "Accept-Encoding"
    assert "server" not in got.headers
    for path in ("/v1/nope", "/v2/kv/a", "/x"):
        got = await client.get(path)
        assert (got.status, got.body) == (404, b"")
        assert not any(name.startswith("x-consul") for name in got.headers)


async def test_the_root_says_who_is_here(client: Client) -> None:
    got = await client.get("/")
    assert (got.status, got.text) == (200, "Consul Agent")
    assert (await client.get("/ui/")).status == 404


async def test_where_the_root_leads_with_an_interface_is_something() -> None:
    rig = await Rig(make_config(ui=WebUi(on=True))).start()
    try:
        async with Client(rig.port) as other:
            got = await other.get("/")
            assert (got.status, got.headers["location"]) == (301, "/ui/")
            page = await other.get("/ui/")
            assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    finally:
        await rig.stop()


async def test_a_wrong_method_is_405_with_allow(client: Client) -> None:
    got = await client.ask("POST", "/v1/catalog/nodes")
    assert (got.status, got.text) == (405, "method POST not allowed")
    assert got.headers["allow"] == "OPTIONS,GET"
    head = await client.ask("HEAD", "/v1/catalog/nodes")
    assert head.status == 405 and head.headers["content-type"] == "text/plain; charset=utf-8"
    assert (await client.get("/v1/status/leader")).status == 200


@pytest.mark.parametrize("method", ["FROB", "get", "X-Y.z~1", "BREW"])
async def test_any_word_may_be_a_method_and_is_answered_so(rig: Rig, method: str) -> None:
    for before in (0, 2):  # the first of a connection, and after what the short way knows
        async with Client(rig.port) as client:
            for _ in range(before):
                assert (await client.get("/v1/status/leader")).status == 200
            got = await client.ask(method, "/v1/catalog/nodes?dc=dc1")
            assert (got.status, got.text) == (405, f"method {method} not allowed")
            assert got.headers["allow"] == "OPTIONS,GET"
            assert got.headers["connection"] == "close"
    assert rig.server.stats().malformed == 0


@pytest.mark.parametrize(
    ("target", "status", "location"),
    [("/v1/nope", 404, ""), ("/v1//kv/a", 301, "/v1/kv/a"), ("/v1/kv/%zz", 400, "")],
)
async def test_an_unknown_method_changes_nothing_about_paths(
    client: Client, target: str, status: int, location: str
) -> None:
    got = await client.ask("FROB", target)
    assert (got.status, got.headers.get("location", "")) == (status, location)


async def test_options_answers_without_running_anything(rig: Rig, client: Client) -> None:
    rig.backend.failure = RuntimeError("must not be asked")
    got = await client.ask("OPTIONS", "/v1/kv/x")
    assert (got.status, got.body, got.headers["allow"]) == (200, b"", "OPTIONS,GET,PUT,DELETE")
    assert "content-type" not in got.headers
    got = await client.ask("OPTIONS", "/v1/query/x")
    assert got.json == {} and got.headers["allow"] == "OPTIONS,GET,PUT,DELETE"
    got = await client.ask("PATCH", "/v1/query/x")
    assert got.headers["allow"] == "GET,PUT,DELETE"


async def test_an_unclean_path_is_redirected(client: Client) -> None:
    got = await client.get("/v1/kv//a?raw")
    assert (got.status, got.headers["location"]) == (301, "/v1/kv/a?raw")
    assert got.text == '<a href="/v1/kv/a?raw">Moved Permanently</a>.\n\n'


@pytest.mark.parametrize("target", ["/v1/kv/a%00b", "/v1/kv/%zz", "/v1/kv/%ff"])
async def test_a_path_that_cannot_be_printed_is_400(client: Client, target: str) -> None:
    got = await client.get(target)
    assert (got.status, got.body) == (400, b"")


async def test_a_bad_query_is_500_without_text(client: Client) -> None:
    got = await client.get("/v1/catalog/nodes?%zz")
    assert (got.status, got.body) == (500, b"")
    assert "content-type" not in got.headers


async def test_pretty_indents_and_development_always_does(client: Client) -> None:
    assert (await client.get("/v1/catalog/datacenters?pretty")).text == '[\n    "dc1"\n]\n'
    assert (await client.get("/v1/catalog/datacenters")).text == '["dc1"]'
    rig = await Rig(make_config(dev_mode=True)).start()
    try:
        async with Client(rig.port) as other:
            assert (await other.get("/v1/catalog/datacenters")).text == '[\n    "dc1"\n]\n'
    finally:
        await rig.stop()


async def test_long_bodies_are_compressed_for_who_takes_it(client: Client) -> None:
    await client.ask("PUT", "/v1/kv/long", b"x" * 3000)
    plain = await client.get("/v1/kv/long")
    packed = await client.ask("GET", "/v1/kv/long", None, {"Accept-Encoding": "gzip, deflate"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    await client.ask("PUT", "/v1/kv/short", b"x")
    short = await client.ask("GET", "/v1/kv/short", None, {"Accept-Encoding": "gzip"})
    assert "content-encoding" not in short.headers


async def test_a_header_value_opens_no_other_line(client: Client) -> None:
    got = await client.get("/v1/agent/health/service/id/x%250d%250aX-Evil:%2520yes")
    assert got.status == 404
    assert "x-evil" not in got.headers


async def test_many_requests_travel_one_connection(client: Client) -> None:
    for number in range(20):
        await client.send("GET", f"/v1/kv/none-{number}")
    for _ in range(20):
        assert (await client.receive()).status == 404


async def test_connection_close_is_honoured(client: Client) -> None:
    got = await client.get("/v1/status/leader", Connection="close")
    assert got.headers["connection"] == "close"
    assert await client.reader.read() == b""


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (RequestError(418, "as said"), 418, "as said"),
        (NoClusterLeader(), 500, "No cluster leader"),
        (NoLeader(), 500, "No cluster leader"),
        (NoServers(), 500, "No known Consul servers"),
        (ForwardError("lost on the way", definite=False), 500, "lost on the way"),
        (LeadershipLost(), 500, "leadership lost while committing log"),
        (QueueFull(), 429, "rate limit exceeded, try again later or against a different server"),
    ],
)
async def test_errors_of_the_backend_have_their_statuses(
    rig: Rig, client: Client, error: Exception, status: int, text: str
) -> None:
    rig.backend.failure = error
    got = await client.get("/v1/kv/a")
    assert (got.status, got.text) == (status, text)
    assert "x-consul-index" not in got.headers


@pytest.mark.parametrize(
    ("failure", "applied"),
    [
        (NoClusterLeader(), "no"),
        (ForwardError("lost", definite=False), "maybe"),
        (ProposalTimeout("x"), "maybe"),
    ],
    ids=["no leader", "connection lost", "out of time"],
)
async def test_a_failed_change_says_whether_it_may_have_happened(
    rig: Rig, client: Client, failure: Exception, applied: str
) -> None:
    rig.backend.failure = failure
    change = await client.ask("PUT", "/v1/kv/k", b"v")
    assert (change.status, change.headers["x-lictor-applied"]) == (500, applied)
    read = await client.get("/v1/kv/k")
    assert read.status == 500 and "x-lictor-applied" not in read.headers


async def test_a_failed_catalog_read_says_it_knows_no_leader(rig: Rig, client: Client) -> None:
    rig.backend.failure = NoClusterLeader()
    got = await client.get("/v1/catalog/services")
    assert got.status == 500
    assert got.headers["x-consul-index"] == "1"
    assert got.headers["x-consul-knownleader"] == "false"


async def test_our_own_bugs_are_500_without_detail(
    rig: Rig, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    rig.backend.failure = ZeroDivisionError("secret detail")
    got = await client.get("/v1/kv/a")
    assert got.status == 500 and "secret" not in got.text
    assert "request failed" in caplog.text
    assert rig.server.stats().internal_errors == 1


async def test_another_datacenter_has_no_path(client: Client) -> None:
    for method, path in (("GET", "/v1/kv/a"), ("PUT", "/v1/kv/a"), ("GET", "/v1/status/leader")):
        got = await client.ask(method, f"{path}?dc=other", b"" if method == "PUT" else None)
        assert (got.status, got.text) == (500, "No path to datacenter")
    assert (await client.get("/v1/kv/a?dc=DC1")).status == 404


# -- bounds --------------------------------------------------------------------------------------


async def test_a_large_body_is_413_and_the_connection_goes_on(tight: Rig) -> None:
    async with Client(tight.port) as client:
        got = await client.ask("PUT", "/v1/kv/a", b"x" * 101)
        assert got.status == 413
        assert got.text.startswith("Request body(101 bytes) too large, max size: 100 bytes.")
        assert (await client.ask("PUT", "/v1/kv/a", b"x" * 100)).json is True
        got = await client.ask("PUT", "/v1/catalog/register", b"x" * 201)
        assert got.status == 413
    assert tight.server.stats().bodies_refused == 2


async def test_a_chunked_body_is_bounded_as_well(tight: Rig) -> None:
    async with Client(tight.port) as client:
        head = b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.writer.write(head + b"40\r\n" + b"x" * 64 + b"\r\n0\r\n\r\n")
        assert (await client.receive()).json is True
        client.writer.write(head + b"80\r\n" + b"x" * 128 + b"\r\n0\r\n\r\n")
        assert (await client.receive()).status == 413


async def test_what_is_left_of_a_refused_body_is_read_slowly_and_not_for_long() -> None:
    limits = small_limits(
        kv_max_value_size=50_000, http_refused_body_rate=1_000_000, http_refused_body_burst=0
    )
    rig = await Rig(make_config(limits=limits)).start()
    head = b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    try:
        async with Client(rig.port) as client:
            client.writer.write(head % 60_000)
            assert (await client.receive()).status == 413
            client.writer.write(b"x" * 60_000)
            assert (await client.ask("PUT", "/v1/kv/a", b"x" * 100)).json is True
            client.writer.write(head % 50_000_000)
            assert (await client.receive()).status == 413
            with pytest.raises(ConnectionError):
                await pour(client, 50_000_000)
    finally:
        await rig.stop()


def test_a_pace_is_kept_by_all_together() -> None:
    pace = Pace(100.0, 0.0)
    assert pace.after(50, 10.0) == pytest.approx(0.5)
    assert pace.after(50, 10.0) == pytest.approx(1.0)
    assert pace.after(50, 20.0) == pytest.approx(0.5)


def test_a_burst_is_read_at_once_and_comes_back_with_time() -> None:
    pace = Pace(100.0, 200.0)
    assert [pace.after(150, 10.0), pace.after(50, 10.0)] == [0.0, 0.0]
    assert pace.after(50, 10.0) == pytest.approx(0.5)
    assert pace.after(50, 11.0) == 0.0
    assert pace.after(1000, 99.0) == pytest.approx(8.0)


async def pour(client: Client, size: int) -> None:
    for _ in range(0, size, 100_000):
        client.writer.write(b"x" * 100_000)
        await client.writer.drain()


async def test_a_client_that_waits_for_permission_gets_it(client: Client) -> None:
    client.writer.write(
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
    )
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    client.writer.write(b"x")
    assert (await client.receive()).json is True


async def test_connections_of_one_client_are_bounded(tight: Rig) -> None:
    held = [Client(tight.port) for _ in range(3)]
    for each in held:
        await each.__aenter__()
        assert (await each.get("/v1/status/leader")).status == 200
    async with Client(tight.port) as one_more:
        assert (await one_more.receive()).status == 429
        assert await one_more.reader.read() == b""
    await held.pop().__aexit__()
    await until(lambda: tight.server.stats().connections_open == 2)
    async with Client(tight.port) as again:
        assert (await again.get("/v1/status/leader")).status == 200
    for each in held:
        await each.__aexit__()
    assert tight.server.stats().connections_refused == 1


async def test_a_client_that_does_not_read_is_not_served_further(rig: Rig, client: Client) -> None:
    await client.ask("PUT", "/v1/kv/big", b"x" * 500_000)
    before = rig.server.stats().requests
    async with Client(rig.port) as lazy:
        for _ in range(200):
            await lazy.send("GET", "/v1/kv/big?raw")
        for _ in range(1000):
            await client.get("/v1/status/leader")  # the server has all the time it wants
        assert rig.server.stats().requests - before - 1000 < 100
        for _ in range(200):
            assert len((await lazy.receive()).body) == 500_000


# -- waiting -------------------------------------------------------------------------------------


async def test_a_held_read_wakes_on_its_key_and_on_no_other(rig: Rig, client: Client) -> None:
    await client.ask("PUT", "/v1/kv/a", b"1")
    index = (await client.get("/v1/kv/a")).headers["x-consul-index"]
    async with Client(rig.port) as watcher:
        await watcher.send("GET", f"/v1/kv/a?raw&index={index}&wait=30s")
        await until(lambda: rig.watches == 1)
        await client.ask("PUT", "/v1/kv/other", b"x")
        assert rig.watches == 1
        await client.ask("PUT", "/v1/kv/a", b"2")
        got = await watcher.receive()
    assert got.text == "2"
    assert int(got.headers["x-consul-index"]) > int(index)


async def test_a_held_read_ends_with_the_same_index_when_time_is_up(client: Client) -> None:
    await client.ask("PUT", "/v1/kv/a", b"1")
    index = (await client.get("/v1/kv/a")).headers["x-consul-index"]
    got = await client.get(f"/v1/kv/a?index={index}&wait=50ms")
    assert got.status == 200 and got.headers["x-consul-index"] == index


async def test_a_client_that_goes_away_cancels_its_read(rig: Rig) -> None:
    async with Client(rig.port) as watcher:
        await watcher.send("GET", "/v1/kv/a?index=1000&wait=60s")
        await until(lambda: rig.watches == 1)
    await until(lambda: rig.watches == 0)
    assert rig.server.stats().blocking_queries_held == 0


async def test_held_reads_are_bounded(tight: Rig) -> None:
    async with Client(tight.port) as one, Client(tight.port) as two:
        await one.send("GET", "/v1/kv/a?index=1000&wait=60s")
        await until(lambda: tight.server.stats().blocking_queries_held == 1)
        assert (await two.get("/v1/kv/a?index=1000&wait=60s")).status == 429
        assert (await two.get("/v1/kv/a")).status == 404


async def test_a_stop_answers_what_is_held_and_is_quick() -> None:
    rig = await Rig(make_config()).start()
    async with Client(rig.port) as watcher, Client(rig.port) as local:
        await watcher.send("GET", "/v1/kv/a?index=1000&wait=60s")
        await local.put("/v1/agent/service/register", {"Name": "web"})
        given = (await local.get("/v1/agent/service/web")).headers["x-consul-contenthash"]
        await local.send("GET", f"/v1/agent/service/web?hash={given}&wait=60s")
        await until(lambda: rig.server.stats().blocking_queries_held == 2)
        async with asyncio.timeout(3):
            await rig.stop()
            for each in (watcher, local):
                got = await each.receive()
                assert (got.status, got.text) == (500, "Agent is shutting down")
    assert len(rig.backend.watches) == 0


async def test_a_port_that_is_taken_is_named(rig: Rig) -> None:
    second = HttpServer(Rig(make_config(port_http=rig.port)).context)
    with pytest.raises(OSError, match=f"cannot listen for HTTP on 127.0.0.1:{rig.port}"):
        await second.start()
    assert second.addresses == ()


# -- ready answers -------------------------------------------------------------------------------


async def test_a_repeated_read_is_not_rendered_again_until_its_index_moves(
    rig: Rig, client: Client
) -> None:
    body = {"Node": "n2", "Address": "10.0.0.2", "Service": {"Service": "web", "Port": 1}}
    await client.put("/v1/catalog/register", body)
    first = await client.get("/v1/health/service/web")
    again = await client.get("/v1/health/service/web")
    assert first.body == again.body and rig.server.stats().ready_answers_hits == 1
    filtered = await client.get("/v1/health/service/web?filter=Service.Port%20==%202")
    assert filtered.json == []
    body["Service"] = {"Service": "web", "Port": 2}
    await client.put("/v1/catalog/register", body)
    moved = await client.get("/v1/health/service/web")
    assert moved.json[0]["Service"]["Port"] == 2


# -- strangers -----------------------------------------------------------------------------------

GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00" * 64,
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /v1/kv/a HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"GET /v1/kv/a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"PUT /v1/kv/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"PUT /v1/kv/a HTTP/1.1\r\nContent-Length: 100\r\n\r\nshort",
    b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    b"GET /v1/kv/a HTTP/1.1\r\nBad Header\r\n\r\n",
    b"\r\n\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT host:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /v1/kv/a HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
)


async def throw(port: int, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 10)
    except (ConnectionError, OSError):
        pass
    finally:
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 40,
        b"\xff" * 40,
        b"GET / HTTP/9.9\r\n\r\n",
        b"PUT /v1/kv/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/kv/a HTTP/1.1\r\nBad Header\r\n\r\n",
        b"GET /v1/kv/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_counted(rig: Rig, client: Client, data: bytes) -> None:
    # The first request of a connection, and one after a request that the short way knows.
    await client.get("/v1/kv/known")
    await client.get("/v1/kv/known")
    assert rig.server.stats().malformed == 0
    await throw(rig.port, data)
    await until(lambda: rig.server.stats().malformed == 1)
    usual = b"GET /v1/kv/known HTTP/1.1\r\nHost: x\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    for _ in range(2):
        writer.write(usual)
        await reader.readuntil(b"\r\n\r\n")
    writer.write(data)
    await until(lambda: rig.server.stats().malformed == 2)
    writer.close()
    assert (await client.get("/v1/status/leader")).status == 200


async def test_garbage_never_brings_the_port_down(rig: Rig, client: Client) -> None:
    rng = random.Random(7)
    valid = b"PUT /v1/kv/a?flags=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    mangled = []
    for _ in range(60):
        data = bytearray(valid)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        mangled.append(bytes(data[: rng.randint(1, len(data))]))
    for data in (*GARBAGE, *mangled, *(rng.randbytes(rng.randint(1, 300)) for _ in range(30))):
        await throw(rig.port, data)
    got = await client.get("/v1/status/leader")
    assert got.status == 200 and got.json == "127.0.0.1:8300"
    await until(lambda: rig.server.stats().connections_open == 1)
    assert rig.server.stats().internal_errors == 0


async def test_any_json_to_any_write_is_answered(rig: Rig, client: Client) -> None:
    rng = random.Random(11)
    paths = [
        ("PUT", "/v1/agent/service/register"),
        ("PUT", "/v1/agent/check/register"),
        ("PUT", "/v1/agent/check/update/x"),
        ("PUT", "/v1/catalog/register"),
        ("PUT", "/v1/catalog/deregister"),
        ("PUT", "/v1/connect/ca/configuration"),
        ("POST", "/v1/connect/intentions"),
        ("PUT", "/v1/connect/intentions/exact?source=a&destination=b"),
        ("PUT", "/v1/connect/intentions/11111111-2222-3333-4444-555555555555"),
        ("POST", "/v1/agent/connect/authorize"),
    ]
    names = ["Name", "Node", "Address", "Service", "Check", "Port", "Meta", "Target", "Action",
             "SourceName", "DestinationName", "Config", "Provider", "ClientCertURI"]  # fmt: skip

    def value(depth: int = 0) -> Any:
        kind = rng.randrange(6 if depth < 3 else 4)
        if kind == 4:
            return [value(depth + 1) for _ in range(rng.randrange(3))]
        if kind == 5:
            return {rng.choice(names): value(depth + 1) for _ in range(rng.randrange(4))}
        return [None, True, rng.randrange(-3, 9), rng.choice(["", "a", "spiffe://x/y", "*"])][kind]

    for _ in range(40):
        for method, path in paths:
            got = await client.ask(method, path, json.dumps(value()).encode())
            assert got.status in {200, 400, 404, 500}, (method, path, got)
    assert rig.server.stats().internal_errors == 0


async def test_a_head_that_does_not_end_is_not_waited_for() -> None:
    rig = await Rig(make_config(limits=small_limits(http_head_timeout_s=0.3))).start()
    try:
        async with asyncio.timeout(20), Client(rig.port) as slow, Client(rig.port) as other:
            begun = asyncio.get_running_loop().time()
            # A byte now and then is no progress: the whole head has a deadline.
            slow.writer.write(b"GET /v1/kv/a HTTP/1.1\r\nHost: ")
            while not slow.reader.at_eof() and slow.reader.exception() is None:
                with contextlib.suppress(ConnectionError):
                    slow.writer.write(b"x")
                    await slow.writer.drain()
                assert (await other.get("/v1/status/leader")).status == 200
                await asyncio.sleep(0.02)
            assert asyncio.get_running_loop().time() - begun >= 0.3
            assert rig.server.stats().malformed == 1
            # Who has sent whole requests, or none, is not meant: this one has waited as long.
            await other.send("PUT", "/v1/kv/a", b"x")
            assert (await other.receive()).json is True
    finally:
        await rig.stop()


async def test_a_slow_body_is_not_taken_for_a_slow_head() -> None:
    rig = await Rig(make_config(limits=small_limits(http_head_timeout_s=0.1))).start()
    try:
        async with asyncio.timeout(20), Client(rig.port) as client:
            for _ in range(2):
                client.writer.write(
                    b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n"
                )
                for _ in range(20):
                    client.writer.write(b"x")
                    await client.writer.drain()
                    await asyncio.sleep(0.02)
                assert (await client.receive()).json is True
            await asyncio.sleep(0.2)
            assert (await client.get("/v1/kv/a?raw")).body == b"x" * 20
    finally:
        await rig.stop()


async def test_all_connections_together_are_bounded() -> None:
    rig = await Rig(make_config(limits=small_limits(http_connections_max=2))).start()
    try:
        await until(lambda: rig.server.stats().connections_open == 0)
        async with asyncio.timeout(20), Client(rig.port) as first, Client(rig.port) as second:
            for client in (first, second):
                assert (await client.get("/v1/status/leader")).status == 200
            async with Client(rig.port) as third:
                assert (await third.receive()).status == 429
            assert (await first.get("/v1/status/leader")).status == 200
        await until(lambda: rig.server.stats().connections_open == 0)
        async with Client(rig.port) as again:
            assert (await again.get("/v1/status/leader")).status == 200
        assert rig.server.stats().connections_refused == 1
    finally:
        await rig.stop()
