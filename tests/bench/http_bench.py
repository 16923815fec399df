"""Keys, registrations and health through HTTP on three servers, beside bare aiohttp."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterable
from functools import partial

import uvloop

from tests.bench.load import Rate, http_rate, http_request
from tests.bench.table import Measure, Rounds, paired
from tests.e2e.cluster import AgentProcess, Cluster

CLIENTS = 64
INSTANCES = 20
SERVICES = 1000
VALUE_BYTES = 128


def load(agent: AgentProcess, requests: Iterable[bytes], seconds: float) -> Rate:
    """``CLIENTS`` keep-alive connections send these requests in turn."""
    turn = itertools.cycle(requests)
    return uvloop.run(
        http_rate((agent.address, 8500), lambda: next(turn), clients=CLIENTS, seconds=seconds)
    )


def puts(agent: AgentProcess, count: int = 5000) -> list[bytes]:
    """Writes that change something each time."""
    fill = b"x" * (VALUE_BYTES - 8)
    return [
        http_request("PUT", f"/v1/kv/bench/{i % 1000}", agent.address, b"%08d" % i + fill)
        for i in range(count)
    ]


def registrations(agent: AgentProcess, count: int = 20_000) -> list[bytes]:
    """One service with two tags and a check each, on 500 nodes."""
    return [
        http_request("PUT", "/v1/catalog/register", agent.address, json.dumps(body).encode())
        for body in (
            {
                "Node": f"r{i % 500}",
                "Address": f"10.1.0.{i % 250}",
                "Service": {"Service": "db", "ID": f"db{i}", "Port": 1000 + i, "Tags": ["a", "b"]},
                "Check": {
                    "Name": "up",
                    "CheckID": f"c{i}",
                    "Status": "passing",
                    "ServiceID": f"db{i}",
                },
            }
            for i in range(count)
        )
    ]


def transactions(agent: AgentProcess, count: int = 200, operations: int = 64) -> list[bytes]:
    """As many operations as one may hold, each a write that changes something."""
    fill = b"x" * (VALUE_BYTES - 8)

    def one(turn: int) -> bytes:
        sets = [
            {
                "KV": {
                    "Verb": "set",
                    "Key": f"bench-txn/{number}",
                    "Value": base64.b64encode(b"%08d" % turn + fill).decode(),
                }
            }
            for number in range(operations)
        ]
        return http_request("PUT", "/v1/txn", agent.address, json.dumps(sets).encode())

    return [one(turn) for turn in range(count)]


def gets(agent: AgentProcess, query: str) -> list[bytes]:
    """A hundred keys."""
    return [http_request("GET", f"/v1/kv/bench/{i}{query}", agent.address) for i in range(100)]


def bench(agents: Cluster, rounds: Rounds, floor: Measure) -> None:
    """All rows of the HTTP section."""
    leader = agents.by_leader()
    follower = next(a for a in agents.agents if a is not leader)
    client = agents.add("c1").ready()
    for number in range(INSTANCES):
        leader.put(
            "/v1/catalog/register",
            {
                "Node": f"n{number}",
                "Address": f"10.0.0.{number + 1}",
                "Service": {"Service": "web", "Port": 80},
                "Check": {"Name": "up", "Status": "passing", "ServiceID": "web"},
            },
        )
    for number in range(SERVICES - 1):
        service = {"Service": f"s{number}", "Tags": ["a", f"t{number % 7}"]}
        body = {"Node": f"n{number % INSTANCES}", "SkipNodeUpdate": True, "Service": service}
        leader.put("/v1/catalog/register", body)
    health = "/v1/health/service/web?passing"
    work: dict[str, tuple[AgentProcess, list[bytes]]] = {
        "KV PUT, leader": (leader, puts(leader)),
        "KV PUT, follower": (follower, puts(follower)),
        "KV PUT, client agent": (client, puts(client)),
        "txn, 64 writes each, leader": (leader, transactions(leader)),
        "KV GET, default (linearizable), leader": (leader, gets(leader, "")),
        "KV GET, default (linearizable), follower": (follower, gets(follower, "")),
        "KV GET, consistent, leader": (leader, gets(leader, "?consistent")),
        "KV GET, stale, follower": (follower, gets(follower, "?stale")),
        "KV GET, default, client agent": (client, gets(client, "")),
        "health?passing, 20 instances, default": (
            leader,
            [http_request("GET", health, leader.address)],
        ),
        "health?passing, 20 instances, stale": (
            leader,
            [http_request("GET", f"{health}&stale", leader.address)],
        ),
        "catalog/services, 1,000 services, default": (
            leader,
            [http_request("GET", "/v1/catalog/services", leader.address)],
        ),
        "catalog register, leader": (leader, registrations(leader)),
    }
    paired(
        rounds,
        floor,
        {
            name: partial(load, agent, requests, rounds.seconds)
            for name, (agent, requests) in work.items()
        },
    )
