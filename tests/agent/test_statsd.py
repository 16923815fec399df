"""Metrics for statsd: what is told, how it is spelled, that it arrives."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from agent.config.schema import TelemetryConfig
from agent.histogram import Histogram
from agent.metrics import AgentMetrics
from agent.metrics_push import MetricsPush
from agent.statsd import PACKET_BYTES, Lines, packets


@dataclass
class Stats:
    requests: int = 3
    waiting: int = 2
    refused: dict[str, int] = field(default_factory=lambda: {"by.rate": 1, "other": 0})
    took: Histogram = field(default_factory=lambda: Histogram((0.1, 1.0)))


def metrics(stats: Stats, prefix: str = "lictor") -> AgentMetrics:
    made = AgentMetrics()
    made.add("http", lambda: stats)
    made.choose(prefix, lambda name: True)
    return made


def test_what_grows_is_told_by_how_much_and_the_rest_as_it_is() -> None:
    stats = Stats()
    source, lines = metrics(stats), Lines(host="web-1.example")
    assert lines.next(source.collect()) == [
        "lictor.http_requests_total:3|c",
        "lictor.web-1_example.http_waiting:2|g",
        "lictor.http_refused_total.by_rate:1|c",
    ]
    assert lines.next(source.collect()) == ["lictor.web-1_example.http_waiting:2|g"]
    stats.requests += 4
    stats.took.observe(0.5)
    assert lines.next(source.collect()) == [
        "lictor.http_requests_total:4|c",
        "lictor.web-1_example.http_waiting:2|g",
        "lictor.http_took_count:1|c",
        "lictor.http_took_sum:0.5|c",
    ]


def test_dogstatsd_has_tags_and_no_host() -> None:
    lines = Lines(tags=("env:prod",), dog=True)
    assert lines.next(metrics(Stats(), "consul").collect()) == [
        "consul.http_requests_total:3|c|#env:prod",
        "consul.http_waiting:2|g|#env:prod",
        "consul.http_refused_total:1|c|#env:prod,kind:by.rate",
    ]


@given(st.lists(st.text("abc\u00e4", min_size=1, max_size=900)))
def test_packets_hold_every_line_that_fits_and_are_small(lines: list[str]) -> None:
    made = list(packets(lines))
    assert all(len(packet) <= PACKET_BYTES for packet in made)
    fitting = [line for line in lines if len(line.encode()) <= PACKET_BYTES]
    assert [line for packet in made for line in packet.decode().split("\n")] == fitting


async def test_a_receiver_is_told_again_and_again() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        address = f"127.0.0.1:{receiver.getsockname()[1]}"
        push = MetricsPush(
            TelemetryConfig(statsd_address=address, disable_hostname=True),
            metrics(Stats()).collect,
        )
        assert push.wanted
        loop = asyncio.get_running_loop()
        running = loop.create_task(push.run(interval_s=0.001))
        try:
            async with asyncio.timeout(20):
                first = await loop.sock_recv(receiver, 2000)
                second = await loop.sock_recv(receiver, 2000)
        finally:
            running.cancel()
    assert first.split(b"\n")[0] == b"lictor.http_requests_total:3|c"
    assert second == b"lictor.http_waiting:2|g"


async def test_statsite_is_told_over_tcp() -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await reader.read())
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config = TelemetryConfig(statsite_address=f"127.0.0.1:{port}", disable_hostname=True)
    push = MetricsPush(config, metrics(Stats()).collect)
    running = asyncio.get_running_loop().create_task(push.run(interval_s=0.001))
    try:
        async with asyncio.timeout(20):
            first, second = await heard.get(), await heard.get()
    finally:
        running.cancel()
        server.close()
    assert first.splitlines()[0] == b"lictor.http_requests_total:3|c"
    assert first.endswith(b"\n") and b"lictor.http_waiting:2|g" in second.splitlines()


@given(
    st.lists(st.text("ab_", max_size=3), max_size=4),
    st.lists(st.text("ab_", max_size=3), max_size=4),
    st.booleans(),
    st.text("ab_", max_size=5),
)
def test_the_longest_prefix_decides(
    allowed: list[str], blocked: list[str], default: bool, name: str
) -> None:
    config = TelemetryConfig(allowed=tuple(allowed), blocked=tuple(blocked), filter_default=default)
    for length in range(len(name), -1, -1):
        start = name[:length]
        if start in blocked or start in allowed:
            assert config.tells(name) == (start not in blocked)
            return
    assert config.tells(name) == default
