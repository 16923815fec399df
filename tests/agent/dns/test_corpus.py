"""The DNS face alone, on real sockets, against the recorded answers of the reference.

Scenarios that need more than catalog registrations run against a whole agent in tests/golden.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from typing import Any

import pytest

from agent.config.schema import AgentConfig, DnsConfig
from agent.dns import DnsServer
from raftstore.definition_commands import DeletePreparedQuery
from raftstore.records import Check, CheckId, Node, NodeName, Service, ServiceId, ServiceName
from tests.agent.dns.catalog import Catalog, register_json
from tests.e2e.cluster import fresh_address
from tests.golden import dns_scenarios

ADDRESS = "10.255.0.7"
#: What only a whole agent can do.
ELSEWHERE = {
    "acl-anonymous": "tokens need a whole agent",
    "service-agent": "needs the agent's own checks; see tests/golden",
    "ingress": "needs config entries; see tests/golden",
}

player = dns_scenarios.load_player()


def scenarios() -> list[Any]:
    found = []
    for name in dns_scenarios.names():
        reason = (dns_scenarios.NOT_YET | ELSEWHERE).get(name)
        marks = [pytest.mark.skip(reason=reason)] if reason else []
        found.append(pytest.param(name, marks=marks))
    return found


class CatalogHttp:
    """Carries out the corpus' catalog steps without an HTTP server."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def call(
        self, method: str, path: str, body: Any = None, headers: Any = None
    ) -> tuple[int, bytes]:
        if path == "/v1/catalog/register":
            register_json(self.catalog, body)
        elif path == "/v1/catalog/deregister":
            self.catalog.deregister(body["Node"], body.get("ServiceID", ""))
        elif path == "/v1/query":
            return 200, json.dumps({"ID": self.catalog.define_query(body)}).encode()
        elif path.startswith("/v1/query/"):
            self.catalog.apply(DeletePreparedQuery(path.removeprefix("/v1/query/")))
        elif path == "/v1/agent/self":
            me = {"NodeName": "Gold-Host", "Datacenter": "dc1"}
            return 200, json.dumps({"Config": me, "Member": {"Addr": ADDRESS}}).encode()
        else:
            raise AssertionError(f"no such step here: {method} {path}")
        return 200, b"true"


def dns_config(name: str, host: str) -> DnsConfig:
    raw = dns_scenarios.config(name, host)
    flat = {key: raw[key] for key in ("domain", "alt_domain", "recursors") if key in raw}
    for key, value in raw.get("dns_config", {}).items():
        if key == "soa":
            flat |= {
                f"soa_{name}" + ("" if name.endswith("_s") else "_s"): number
                for name, number in value.items()
            }
        elif key == "service_ttl":
            flat["service_ttl_s"] = {n: seconds(t) for n, t in value.items()}
        elif key in {"node_ttl", "max_stale", "recursor_timeout", "cache_max_age"}:
            flat[f"{key}_s"] = seconds(value)
        else:
            flat[key] = value
    return DnsConfig(**flat)


def seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600}
    return sum(int(n) * units[u] for n, u in re.findall(r"(\d+)([smh])", text))


def own_node(catalog: Catalog) -> None:
    node = Node(name=NodeName("Gold-Host"), address=ADDRESS, meta={"consul-network-segment": ""})
    server = Service(node=node.name, id=ServiceId("consul"), name=ServiceName("consul"), port=8300)
    alive = Check(node=node.name, id=CheckId("serfHealth"), status="passing")
    catalog.register(node, server, (alive,))


@pytest.mark.parametrize("name", scenarios())
async def test_recorded_answers_are_given(name: str) -> None:
    scenario = dns_scenarios.scenario(name)
    catalog = Catalog()
    own_node(catalog)
    group, host = scenario.get("config", "default"), fresh_address()
    zones = dns_scenarios.upstreams(group, host)
    upstreams = [player.Upstream(address, zone) for address, zone in zones.items()]
    config = AgentConfig(node_name="Gold-Host", dns=dns_config(group, host))
    server = DnsServer(config, catalog, rng=random.Random(7))
    await server.listen((("127.0.0.1", 0),))
    loop = asyncio.get_running_loop()
    try:
        bad = await loop.run_in_executor(
            None, play, scenario, CatalogHttp(catalog), server.addresses[0], loop
        )
    finally:
        await server.stop()
        for upstream in upstreams:
            upstream.close()
    assert not bad


def play(scenario: Any, http: CatalogHttp, address: Any, loop: Any) -> list[str]:
    """As the player's own ``play``, with catalog steps carried out on the server's loop."""

    def steps(items: Any, env: Any) -> None:
        async def run() -> None:
            player.run_steps(http, items, env)

        asyncio.run_coroutine_threadsafe(run(), loop).result(20)

    env = player.learn(http)
    bad: list[str] = []
    steps(scenario["setup"], env)
    for number, step in enumerate(scenario["steps"], 1):
        if "http" in step:
            steps(step["http"], env)
            continue
        query = step["dns"]
        for difference in player.play_query(query, env, address, False):
            asked = f"{query.get('qname', query.get('raw'))} {query.get('qtype')}"
            bad.append(f"#{number} {asked}: {difference}")
    return bad
