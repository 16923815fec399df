"""How fast DNS is answered, beside the least that asyncio can do with a UDP packet.

Every function starts a server in a process of its own, keeps a window of questions on the way to
it, and gives back answers per second. Only ratios within one run on one machine mean something:
``python -m tests.bench.dns_bench`` prints all of them.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import dns.message
import uvloop

from agent.config.bounds import Limits
from agent.config.schema import AgentConfig
from agent.dns.server import DnsServer
from raftstore.records import Node, NodeName, Service, ServiceId, ServiceName
from tests.agent.dns.catalog import Catalog

#: Questions on the way at any time, as from so many clients.
WINDOW = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsRates:
    """Questions per second: the bare echo, ready answers, and answers made anew each time."""

    floor: float
    floor_1300_bytes: float
    hit_single: float
    hit_a20: float
    hit_srv20: float
    miss_single: float
    miss_srv20: float


def question(name: str, qtype: str, *, edns: bool = False) -> bytes:
    return dns.message.make_query(name, qtype, use_edns=0 if edns else False).to_wire()


def catalog() -> Catalog:
    """One service with a single instance, one with twenty."""
    made = Catalog()
    fill(made)
    return made


def fill(made: Catalog) -> None:
    """Register them."""
    for number in range(20):
        node = Node(name=NodeName(f"node-{number}"), address=f"10.1.0.{number + 1}")
        many = Service(node=node.name, id=ServiceId("web"), name=ServiceName("web"), port=8080)
        made.register(node, many)
    one = Service(node=NodeName("node-0"), id=ServiceId("db"), name=ServiceName("db"), port=5432)
    made.register(Node(name=NodeName("node-0"), address="10.1.0.1"), one)


def drive(address: tuple[str, int], packets: list[bytes], seconds: float) -> float:
    """Keep ``WINDOW`` questions on the way for so long; questions answered per second."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(address)
        client.setblocking(False)
        sent = answered = 0
        start = last = time.perf_counter()
        while (now := time.perf_counter()) - start < seconds:
            while sent - answered < WINDOW:
                packet = packets[sent % len(packets)]
                client.send(sent.to_bytes(4, "big")[2:] + packet[2:])
                sent += 1
            if not select.select([client], [], [], 0.2)[0]:
                sent = answered  # lost packets: start the window anew
                continue
            try:
                while True:
                    client.recv(4096)
                    answered += 1
                    last = now
            except BlockingIOError:
                pass
        return answered / (last - start)


class _Echo(asyncio.DatagramProtocol):
    """A dictionary of ready answers keyed by the packet without its id, and nothing else."""

    def __init__(self, ready: dict[bytes, bytes]) -> None:
        self._ready = ready

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data[:2] + self._ready[data[2:]], addr)  # type: ignore[attr-defined]


async def _serve_floor(ready: dict[bytes, bytes]) -> tuple[str, int]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Echo(ready), local_addr=("127.0.0.1", 0)
    )
    return transport.get_extra_info("sockname")  # type: ignore[no-any-return]


async def _serve_dns(ready: bool) -> tuple[str, int]:
    source = catalog()
    if not ready:
        source.watch_once = lambda query, on_change: None  # type: ignore[method-assign]
    config = AgentConfig(node_name="bench", limits=Limits())
    server = DnsServer(config, source, rng=random.Random(1))
    await server.listen((("127.0.0.1", 0),))
    return server.addresses[0]


def _child(serve: Callable[..., object], argument: object, pipe: object) -> None:
    async def main() -> None:
        address = await serve(argument)  # type: ignore[misc]
        pipe.send(address)  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    uvloop.run(main())


def rate(
    serve: Callable[..., object], argument: object, packets: list[bytes], seconds: float
) -> float:
    """Questions per second that a server in a process of its own answers."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(serve, argument, theirs), daemon=True)
    process.start()
    try:
        address = ours.recv()
        drive(address, packets, seconds / 10)
        return drive(address, packets, seconds)
    finally:
        process.terminate()
        process.join()
        process.close()
        ours.close()
        theirs.close()


def floor(seconds: float = 2.0, *, answer_bytes: int = 16) -> float:
    packet = question("db.service.consul.", "A")
    ready = {packet[2:]: packet[2:] + b"x" * answer_bytes}
    return rate(_serve_floor, ready, [packet], seconds)


def hit(name: str, qtype: str, *, edns: bool = False, seconds: float = 2.0) -> float:
    return rate(_serve_dns, True, [question(name, qtype, edns=edns)], seconds)


def miss(name: str, qtype: str, *, edns: bool = False, seconds: float = 2.0) -> float:
    return rate(_serve_dns, False, [question(name, qtype, edns=edns)], seconds)


def measure(seconds: float = 2.0) -> DnsRates:
    """All of them, one after the other."""
    return DnsRates(
        floor=floor(seconds),
        floor_1300_bytes=floor(seconds, answer_bytes=1300),
        hit_single=hit("db.service.consul.", "A", seconds=seconds),
        hit_a20=hit("web.service.consul.", "A", seconds=seconds),
        hit_srv20=hit("web.service.consul.", "SRV", edns=True, seconds=seconds),
        miss_single=miss("db.service.consul.", "A", seconds=seconds),
        miss_srv20=miss("web.service.consul.", "SRV", edns=True, seconds=seconds),
    )


if __name__ == "__main__":
    print(measure())
