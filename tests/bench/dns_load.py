"""DNS under dnsperf, beside the least that asyncio can do with a UDP packet.

``python -m tests.bench.dns_load`` runs it; ``--changing`` also with 100,000 instances of which a
hundred a second change. Every server is a process of its own. Rates suffer from whatever else the
machine does, the processor time of the server per answer hardly: both are printed as ratios to the
floor of the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from agent.config.schema import AgentConfig
from agent.dns import DnsServer
from raftstore.records import Check, CheckId, Node, NodeName, Service, ServiceId, ServiceName
from tests.agent.acl.test_seen import Setting
from tests.agent.dns.catalog import Catalog
from tests.bench.dns_bench import catalog, fill

SERVICES, INSTANCES = 5_000, 20
NODES = 2_000
CHANGES_PER_S = 100
CLIENTS = 16
#: Bytes of the answers about twenty instances: what the floor sends as well.
ANSWER_BYTES = {1: 372, 33: 1310}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What dnsperf saw. ``cpu_us`` is the server's processor time per answer."""

    per_second: float
    lost: int
    cpu_us: float
    p99_ms: float = 0.0


class _Floor(asyncio.DatagramProtocol):
    """Ready answers by the packet without its id; the first of a kind is made when it comes."""

    def __init__(self) -> None:
        self._ready: dict[bytes, bytes] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        body = self._ready.get(data[2:])
        if body is None:
            body = self._ready[data[2:]] = _reply(data)
        self._transport.sendto(data[:2] + body, addr)  # type: ignore[attr-defined]


def _reply(data: bytes) -> bytes:
    """A reply that dnsperf takes for one, as long as ours is."""
    at = 12
    while data[at]:
        at += data[at] + 1
    (qtype,) = struct.unpack_from("!H", data, at + 1)
    size = ANSWER_BYTES.get(qtype, 100)
    head = b"\x85\x00" + data[4:6] + b"\0" * 6 + data[12 : at + 5]
    return head + b"\0" * max(0, size - 2 - len(head))


async def _serve_floor(_: object) -> tuple[str, int]:
    transport, _protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        _Floor, local_addr=("127.0.0.1", 0)
    )
    return transport.get_extra_info("sockname")  # type: ignore[no-any-return]


async def _serve_small(_: object) -> tuple[str, int]:
    return await _served(catalog())


async def _serve_guarded(_: object) -> tuple[str, int]:
    """The same with the eyes of a token that may see it, which is watched as on a server."""
    setting = Setting()
    fill(setting.state)
    setting.policy('service_prefix "" { policy = "read" }\nnode_prefix "" { policy = "read" }')
    return await _served(setting.seen, rights=setting.seen)


async def _served(source: Any, *, rights: Any = None) -> tuple[str, int]:
    config = AgentConfig(node_name="bench")
    server = DnsServer(config, source, rng=random.Random(1), rights=rights)
    await server.listen((("127.0.0.1", 0),))
    _KEPT.append(server)
    return server.addresses[0]


_KEPT: list[Any] = []


def _instance(source: Catalog, number: int, status: str) -> None:
    node = Node(name=NodeName(f"node-{number % NODES}"), address=_address(number % NODES))
    service = Service(
        node=node.name, id=ServiceId(f"i{number}"), name=ServiceName(f"s{number % SERVICES}"),
        port=8080,
    )  # fmt: skip
    check = Check(node=node.name, id=CheckId(f"c{number}"), status=status, service_id=service.id)
    source.register(node, service, (check,))


def _address(number: int) -> str:
    return f"10.{number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"


async def _serve_large(changes_per_s: int) -> tuple[str, int]:
    source = Catalog()
    source.watches._max = 200_000
    for number in range(SERVICES * INSTANCES):
        _instance(source, number, "passing")
    address = await _served(source)
    rng, loop = random.Random(2), asyncio.get_running_loop()

    def change() -> None:
        _instance(source, rng.randrange(SERVICES * INSTANCES), rng.choice(["passing", "critical"]))
        loop.call_later(1 / changes_per_s, change)

    if changes_per_s:
        change()
    return address


def _child(serve: Callable[..., Any], argument: object, pipe: Any) -> None:
    async def main() -> None:
        pipe.send(await serve(argument))
        await asyncio.Event().wait()

    uvloop.run(main())


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def under(
    serve: Callable[..., Any], argument: object, questions: str, seconds: float, rate: float = 0
) -> Load:
    """Load a server in a process of its own; with a ``rate`` at no more questions a second."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(serve, argument, theirs), daemon=True)
    process.start()
    try:
        host, port = ours.recv()
        assert process.pid is not None
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "questions"
            data.write_text(questions)
            _dnsperf(host, port, data, ["-n", "2"])  # what is made once is made before
            before = _cpu_s(process.pid)
            limits = ["-Q", str(int(rate)), "-v"] if rate else []
            found = _dnsperf(host, port, data, ["-l", str(max(1, int(seconds))), *limits])
            spent = _cpu_s(process.pid) - before
    finally:
        process.terminate()
        process.join()
    answered, lost, took, p99_ms = found
    return Load(
        per_second=answered / took, lost=lost, cpu_us=spent / max(1, answered) * 1e6, p99_ms=p99_ms
    )


def _dnsperf(host: str, port: int, data: Path, options: list[str]) -> tuple[int, int, float, float]:
    command = [
        "dnsperf", "-s", host, "-p", str(port), "-d", str(data), "-c", str(CLIENTS), "-T", "1",
        "-e", "-b", "1024",
    ]  # fmt: skip
    text = subprocess.run([*command, *options], capture_output=True, text=True, check=True).stdout
    answered = int(_figure(text, r"Queries completed:\s+(\d+)"))
    lost = int(_figure(text, r"Queries lost:\s+(\d+)"))
    took = _figure(text, r"Run time \(s\):\s+([\d.]+)")
    latencies = sorted(float(m) for m in re.findall(r"^> \S+ \S+ \S+ ([\d.]+)$", text, re.M))
    p99 = latencies[len(latencies) * 99 // 100] * 1e3 if latencies else 0.0
    return answered, lost, took, p99


def _figure(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    assert found is not None, text
    return float(found[1])


SMALL = "web.service.consul A\nweb.service.consul SRV\n"
AMONG_MANY = "s77.service.consul A\ns77.service.consul SRV\n"
LARGE = "".join(f"s{number}.service.consul A\n" for number in range(SERVICES))


def bench(seconds: float, *, changing: bool) -> None:
    """Print the table; with ``changing`` also for a catalog of 100,000 instances."""
    if shutil.which("dnsperf") is None:
        print("\nDNS under dnsperf: skipped, it is not installed")
        return
    print(f"\n| {'dnsperf':38} | questions/s | ratio | CPU us | ratio | lost | p99 ms")
    print(f"|{'-' * 40}|-------------|-------|--------|-------|------|-------")
    floor = under(_serve_floor, None, SMALL, seconds)
    ours = under(_serve_small, None, SMALL, seconds)
    guarded = under(_serve_guarded, None, SMALL, seconds)
    half = under(_serve_small, None, SMALL, seconds, rate=ours.per_second / 2)
    _row("floor: asyncio, answers as long", floor, floor)
    _row("20 instances, A and SRV", ours, floor)
    _row("the same with access control", guarded, floor)
    _row("without it at half the load", half, floor)
    if changing:
        still = under(_serve_large, 0, LARGE, seconds)
        moving = under(_serve_large, CHANGES_PER_S, LARGE, seconds)
        one = under(_serve_large, CHANGES_PER_S, AMONG_MANY, seconds)
        _row("one service of 5,000 that change", one, ours)
        _row("100,000 instances, still", still, still)
        _row(f"the same, {CHANGES_PER_S} changes a second", moving, still)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--changing", action="store_true", help="also with 100,000 instances")
    options = parser.parse_args()
    bench(options.seconds, changing=options.changing)


def _row(name: str, load: Load, floor: Load) -> None:
    print(
        f"| {name:38} | {load.per_second:11,.0f} | {load.per_second / floor.per_second:5.2f} "
        f"| {load.cpu_us:6.1f} | {floor.cpu_us / load.cpu_us:5.2f} | {load.lost:4} "
        f"| {load.p99_ms:.2f}"
    )


if __name__ == "__main__":
    main()
