"""The DNS face alone, on real sockets, against the recorded answers of the reference.

Scenarios that need more than catalog registrations run against a whole agent in tests/golden.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import random
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agent.config.schema import AgentConfig, DnsConfig
from agent.dns import DnsServer
from raftstore.records import Check, CheckId, Node, NodeName, Service, ServiceId, ServiceName
from tests.agent.dns.catalog import Catalog, register_json

GOLDEN = Path(__file__).parents[2] / "golden"
ADDRESS = "10.255.0.7"
#: What only a whole agent, recursors, prepared queries or ACLs can answer.
ELSEWHERE = {
    "acl-anonymous": "needs ACLs",
    "cached": "the agent cache is not used for DNS",
    "ingress": "ingress lookups are not served yet",
    "query-basic": "prepared queries are not served yet",
    "query-health": "prepared queries are not served yet",
    "query-template": "prepared queries are not served yet",
    "recurse": "recursors are not asked yet",
    "recurse-failover": "recursors are not asked yet",
    "service-agent": "needs the agent's own checks",
    "ttl-query": "prepared queries are not served yet",
    "virtual": "virtual addresses are not served yet",
}
#: Reverse names of services need a query by service address.
PARTLY = {"domain-custom": "PTR", "ptr-ipv6": "PTR", "ptr": "PTR"}


def load_player() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dns_replay", GOLDEN / "dns_replay.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


player = load_player()


def scenarios() -> list[Any]:
    found = []
    for path in sorted((GOLDEN / "dns").glob("*.json")):
        if not path.name.startswith("config-"):
            name = path.stem
            marks = [pytest.mark.skip(reason=ELSEWHERE[name])] if name in ELSEWHERE else []
            found.append(pytest.param(path, id=name, marks=marks))
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
        elif path == "/v1/agent/self":
            me = {"NodeName": "Gold-Host", "Datacenter": "dc1"}
            return 200, json.dumps({"Config": me, "Member": {"Addr": ADDRESS}}).encode()
        elif path.startswith("/v1/query"):
            return 200, b'{"ID": "unused"}'
        else:
            raise AssertionError(f"no such step here: {method} {path}")
        return 200, b"true"


def dns_config(name: str) -> DnsConfig:
    raw = json.loads((GOLDEN / "dns" / f"config-{name}.json").read_text())
    raw.pop("_replay", None)
    flat = {key: raw[key] for key in ("domain", "alt_domain") if key in raw}
    for key, value in raw.get("dns_config", {}).items():
        if key == "soa":
            flat |= {
                f"soa_{name}" + ("" if name.endswith("_s") else "_s"): number
                for name, number in value.items()
            }
        elif key == "service_ttl":
            flat["service_ttl_s"] = {n: seconds(t) for n, t in value.items()}
        elif key in {"node_ttl", "max_stale"}:
            flat[f"{key}_s"] = seconds(value)
        else:
            flat[key] = value
    return DnsConfig(**flat)


def seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600}
    return sum(int(n) * units[u] for n, u in re.findall(r"(\d+)([smh])", text))


def own_node(catalog: Catalog) -> None:
    node = Node(name=NodeName("Gold-Host"), address=ADDRESS, meta={"consul-network-segment": ""})
    server = Service(id=ServiceId("consul"), name=ServiceName("consul"), port=8300)
    alive = Check(id=CheckId("serfHealth"), status="passing")
    catalog.register(node, server, (alive,))


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize("path", scenarios())
async def test_recorded_answers_are_given(path: Path) -> None:
    scenario = read(path)
    catalog = Catalog()
    own_node(catalog)
    config = AgentConfig(node_name="Gold-Host", dns=dns_config(scenario.get("config", "default")))
    server = DnsServer(config, catalog, rng=random.Random(7))
    await server.listen((("127.0.0.1", 0),))
    loop = asyncio.get_running_loop()
    try:
        bad = await loop.run_in_executor(
            None, play, scenario, CatalogHttp(catalog), server.addresses[0], loop
        )
    finally:
        await server.stop()
    assert not bad


def play(scenario: Any, http: CatalogHttp, address: Any, loop: Any) -> list[str]:
    """As the player's own ``play``, with catalog steps carried out on the server's loop."""

    def steps(items: Any, env: Any) -> None:
        async def run() -> None:
            player.run_steps(http, items, env)

        asyncio.run_coroutine_threadsafe(run(), loop).result(20)

    env = player.learn(http)
    bad: list[str] = []
    steps(scenario.get("setup", []), env)
    for number, step in enumerate(scenario["steps"], 1):
        if "http" in step:
            steps(step["http"], env)
            continue
        query = step["dns"]
        if ".query." in query.get("qname", ""):
            continue
        if "quirk" in query and query["quirk"] not in QUIRKS_KEPT:
            continue
        if query.get("qtype") == PARTLY.get(scenario["name"]) and "service" in str(
            query.get("expect", {}).get("answer")
        ):
            continue
        for difference in player.play_query(query, env, address, False):
            asked = f"{query.get('qname', query.get('raw'))} {query.get('qtype')}"
            bad.append(f"#{number} {asked}: {difference}")
    return bad


QUIRKS_KEPT = {
    "types a node cannot have give NOERROR without SOA, even if there is no such node",
    "labels after addr are not checked",
    "addr names answer every type with their address record",
    "wrong length of hex gives an empty NOERROR",
    "class is not looked at",
    "opcode NOTIFY is served like a query",
    "EDNS version is not looked at",
    "a CNAME answers every type",
    "a loop repeats the CNAME",
    "unknown reverse name without recursors is SERVFAIL",
}
