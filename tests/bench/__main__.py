"""``make bench``: floors, and our figures as ratios to them.

Three servers on this machine share its cores with each other and with the load generator, as the
measurements of other products in docs/benchmarks.md did. ``--seconds`` is the length of each run.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import dns.message
import uvloop

from tests.bench import floors, relay_bench, snapshot_bench
from tests.bench.load import Rate, http_rate, http_request, udp_rate
from tests.e2e.cluster import AgentProcess, Cluster, cluster, fresh_address

CLIENTS = 64


def row(name: str, rate: Rate, floor: Rate | None = None, note: str = "") -> None:
    """Print one line of the table."""
    ratio = f"{rate.per_second / floor.per_second:6.2f}" if floor else "      "
    failed = f" errors={rate.errors}" if rate.errors else ""
    print(
        f"| {name:34} | {rate.per_second:9.0f} | {rate.p50_ms:7.2f} | {rate.p99_ms:7.2f} "
        f"| {ratio} | {note}{failed}",
        flush=True,
    )


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
        question = dns.message.make_query("web.service.consul", "A", id=0).to_wire()[2:]
        return uvloop.run(udp_rate((address, 9999), question, window=64, seconds=seconds))
    finally:
        process.kill()
        process.wait()


def http_row(
    name: str, agent: AgentProcess, requests: list[bytes], seconds: float, floor: Rate, note: str
) -> None:
    """Load one agent with these requests in turn and print the line."""
    turn = itertools.cycle(requests)
    rate = uvloop.run(
        http_rate((agent.address, 8500), lambda: next(turn), clients=CLIENTS, seconds=seconds)
    )
    row(name, rate, floor, note)


def bench_http(agents: Cluster, seconds: float, floor: Rate, fsync_ms: float) -> None:
    """Keys and health on three servers."""
    leader = agents.by_leader()
    follower = next(a for a in agents.agents if a is not leader)
    for number in range(20):
        leader.put(
            "/v1/catalog/register",
            {
                "Node": f"n{number}",
                "Address": f"10.0.0.{number + 1}",
                "Service": {"Service": "web", "Port": 80},
                "Check": {"Name": "up", "Status": "passing", "ServiceID": "web"},
            },
        )
    value = b"x" * 128
    for name, agent in (("leader", leader), ("follower", follower)):
        puts = [http_request("PUT", f"/v1/kv/bench/{i}", agent.address, value) for i in range(1000)]
        note = f"one fsync {fsync_ms:.2f} ms"
        http_row(f"KV PUT, 3 servers, via {name}", agent, puts, seconds, floor, note)
    for name, query in (("default", "?raw"), ("stale", "?raw&stale"), ("JSON", "?stale")):
        gets = [http_request("GET", f"/v1/kv/bench/{i}{query}", leader.address) for i in range(100)]
        http_row(f"KV GET {name}", leader, gets, seconds, floor, "")
    health = [http_request("GET", "/v1/health/service/web?passing&stale", leader.address)]
    http_row("health/service?passing, 20, stale", leader, health, seconds, floor, "")
    health = [http_request("GET", "/v1/health/service/web?passing", leader.address)]
    http_row("health/service?passing, 20", leader, health, seconds, floor, "")


def bench_dns(agents: Cluster, seconds: float, floor: Rate) -> None:
    """Questions to one server."""
    agent = agents.agents[0]
    for name, kind in (("web.service.consul", "A"), ("web.service.consul", "SRV")):
        question = dns.message.make_query(name, kind, id=0, use_edns=0, payload=4096).to_wire()[2:]
        rate = uvloop.run(udp_rate((agent.address, 8600), question, window=64, seconds=seconds))
        row(f"DNS {kind}, 20 instances", rate, floor, "")


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
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", choices=["http", "dns", "relay", "snapshot"], default=None)
    options = parser.parse_args()
    seconds = options.seconds
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Python {sys.version.split()[0]}")
    fsync_ms = floors.fsync_ms()
    print(f"floor: one synced 4 KiB write: {fsync_ms:.3f} ms (median)\n")
    print(f"| {'work':34} |  per s    |  p50 ms |  p99 ms | ratio  | note")
    print(f"|{'-' * 36}|-----------|---------|---------|--------|-----")
    only = options.only
    http_floor = measure_floor("http", seconds) if only in (None, "http") else None
    udp_floor = measure_floor("udp", seconds) if only in (None, "dns") else None
    if http_floor:
        row("floor: bare aiohttp", http_floor)
    if udp_floor:
        row("floor: bare UDP echo", udp_floor)
    if http_floor or udp_floor:
        with tempfile.TemporaryDirectory() as folder, cluster(Path(folder)) as agents:
            agents.servers(3)
            if http_floor:
                bench_http(agents, seconds, http_floor, fsync_ms)
            else:
                agents.by_leader().put("/v1/kv/x", b"")
            if udp_floor:
                bench_dns(agents, seconds, udp_floor)
    if only in (None, "relay"):
        bench_relay(seconds)
    if only in (None, "snapshot"):
        snapshot_bench.main()


if __name__ == "__main__":
    main()
