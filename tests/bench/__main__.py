"""``make bench``: floors, and our figures as ratios to them.

Three servers on this machine share its cores with each other and with the load generator, as the
measurements of other products in docs/benchmarks.md did. ``--only`` chooses sections, ``--rounds``
how often each floor and each figure are taken, one beside the other.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import dns.message
import uvloop

from tests.bench import (
    acl_bench,
    apply_bench,
    archive_bench,
    balance_bench,
    checks_bench,
    cluster_bench,
    dns_load,
    floors,
    gossip_bench,
    http_bench,
    leaf_bench,
    mesh_http_bench,
    raft_bench,
    relay_bench,
    session_bench,
    snapshot_bench,
    tls_bench,
)
from tests.bench.http_bench import CLIENTS
from tests.bench.load import Rate, http_rate, http_request, udp_rate
from tests.bench.table import Rounds, alone, head, paired
from tests.e2e.cluster import cluster, fresh_address
from tests.ports import three_ports

SECTIONS = (
    "http", "dns", "raft", "tls", "failover", "watch", "idle", "memory", "snapshot",
    "relay", "sessions", "gossip", "checks", "balance", "acl",
    "leaves", "apply",
)  # fmt: skip
FAILOVERS = 20
CRASHES = 10


def measure_floor(kind: str, seconds: float) -> Rate:
    """Start a floor in a process of its own, load it, stop it."""
    address = fresh_address()
    command = [sys.executable, "-m", "tests.bench.floors", kind, address, "9999"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        if kind == "http":
            request = http_request("GET", "/", address)
            return uvloop.run(
                http_rate((address, 9999), lambda: request, clients=CLIENTS, seconds=seconds)
            )
        return uvloop.run(udp_rate((address, 9999), question("A"), window=64, seconds=seconds))
    finally:
        process.kill()
        process.wait()


def question(kind: str) -> bytes:
    """A DNS question without its identity."""
    wire = dns.message.make_query("web.service.consul", kind, id=0, use_edns=0, payload=4096)
    return wire.to_wire()[2:]


def bench_http(folder: Path, rounds: Rounds) -> None:
    """HTTP on three servers."""
    with cluster(folder) as agents:
        agents.servers(3)
        http_bench.bench(agents, rounds, partial(measure_floor, "http", rounds.seconds))


def bench_dns(folder: Path, rounds: Rounds) -> None:
    """Questions to one server about a service with twenty instances."""

    def ask(address: str, kind: str) -> Rate:
        packet, seconds = question(kind), rounds.seconds
        return uvloop.run(udp_rate((address, 8600), packet, window=64, seconds=seconds))

    with cluster(folder) as agents:
        agents.servers(3)
        agent = agents.agents[0]
        for number in range(http_bench.INSTANCES):
            node = {"Node": f"n{number}", "Address": f"10.0.0.{number + 1}"}
            agent.put("/v1/catalog/register", node | {"Service": {"Service": "web", "Port": 80}})
        works = {f"DNS {kind}, 20 instances": partial(ask, agent.address, kind)
                 for kind in ("A", "SRV")}  # fmt: skip
        paired(rounds, partial(measure_floor, "udp", rounds.seconds), works)


def bench_raft(rounds: Rounds) -> None:
    """The store alone: the load runs in the leader's process."""
    seconds = rounds.seconds
    with raft_bench.three(three_ports()) as servers:
        servers.measure("write 64 1 128")
        works = {
            f"store: committed writes, {n} outstanding": f"write {n} {seconds} 128"
            for n in (1, 16, 64, 256)
        } | {f"store: confirmed reads, {n} outstanding": f"read {n} {seconds}" for n in (1, 64)}
        alone(rounds, {name: partial(servers.measure, line) for name, line in works.items()})


def bench_relay(seconds: float) -> None:
    """Our pair of sidecars beside two plain relays: the same number of hops."""
    one_hop, floor, pair = relay_bench.run(clients=CLIENTS, seconds=seconds)
    print(f"\n| {'relay, 64 connections':34} | 12 B/s    | MB/s    | conn/s  | ratio of 12 B/s")
    print(f"|{'-' * 36}|-----------|---------|---------|--------")
    for name, figures, ratio in (
        ("floor: one plain relay", one_hop, ""),
        ("floor: two plain relays", floor, ""),
        ("mTLS pair of sidecars", pair, f"{pair.requests_s / floor.requests_s:6.2f}"),
    ):
        print(
            f"| {name:34} | {figures.requests_s:9.0f} | {figures.megabytes_s:7.0f} "
            f"| {figures.connections_s:7.0f} | {ratio}",
            flush=True,
        )


def main() -> None:
    """Run the chosen sections and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each figure")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="may be repeated")
    options = parser.parse_args()
    rounds = Rounds(options.rounds, options.seconds)
    only = options.only or SECTIONS
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Python {sys.version.split()[0]}")
    print(f"floor: one synced 4 KiB write: {floors.fsync_ms():.3f} ms (median)\n")
    if {"http", "dns", "raft", "tls"} & set(only):
        head()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "http" in only:
            bench_http(folder / "http", rounds)
        if "dns" in only:
            bench_dns(folder / "dns", rounds)
        if "raft" in only:
            bench_raft(rounds)
        if "tls" in only:
            tls_bench.bench(rounds)
        if "acl" in only:
            acl_bench.bench(folder / "acl", rounds)
        if "failover" in only:
            cluster_bench.bench_failover(folder / "failover", FAILOVERS)
        if "watch" in only:
            cluster_bench.bench_watch(folder / "watch", rounds.count)
        if "idle" in only:
            cluster_bench.bench_idle(folder / "idle")
        if "memory" in only:
            cluster_bench.bench_memory(folder / "memory")
        if "sessions" in only:
            session_bench.bench(folder / "sessions", rounds.seconds)
        if "leaves" in only:
            leaf_bench.bench(folder / "leaves", rounds.seconds)
        if "checks" in only:
            checks_bench.bench(folder / "checks")
    if "dns" in only:
        dns_load.bench(rounds.seconds, changing=True)
    if "apply" in only:
        apply_bench.main()
    if "snapshot" in only:
        snapshot_bench.main()
        archive_bench.main()
    if "relay" in only:
        bench_relay(rounds.seconds)
        mesh_http_bench.bench(clients=CLIENTS, seconds=rounds.seconds)
    if "gossip" in only:
        gossip_bench.bench(CRASHES)
    if "balance" in only:
        for line in balance_bench.lines():
            print(line, flush=True)


if __name__ == "__main__":
    main()
