"""Two datacenters, as whole agents: one join makes one pool of all servers, with one keyring."""

from __future__ import annotations

import base64
import concurrent.futures
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import AgentProcess, cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.calm, pytest.mark.timeout(240)]

WITHIN_S = 60.0


def wan_names(agent: AgentProcess) -> list[str]:
    """The live servers of all datacenters as an agent knows them."""
    found = agent.get("/v1/agent/members?wan=1").json
    return sorted(member["Name"] for member in found if member["Status"] == 1)


def until(condition: Any, what: str) -> None:
    eventually(condition, within_s=WITHIN_S, what=what)


def knows_the_way(agent: AgentProcess, name: str) -> bool:
    try:
        return "using WAN coordinates" in agent.cli("rtt", "-wan", name)
    except AssertionError:  # no coordinate yet
        return False


def test_servers_of_two_datacenters_are_one_pool(tmp_path: Path) -> None:
    key, other = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
    quick = tmp_path / "quick.json"
    more = {"gossip_wan": {"profile": "lan"}, "telemetry": {"prometheus_retention_time": "60s"}}
    quick.write_text(json.dumps(more))
    flags = ("-server", f"-encrypt={key}", f"-config-file={quick}")
    with cluster(tmp_path) as made:
        east1 = made.add("s1", *flags, "-datacenter=east", "-bootstrap-expect=2")
        east2 = made.add("s2", *flags, "-datacenter=east", "-bootstrap-expect=2")
        west = AgentProcess("s1", tmp_path / "w", *flags, "-datacenter=west", "-bootstrap")
        made.agents.append(west)
        west.start()
        client = made.add("c1", f"-encrypt={key}", "-datacenter=east")
        for agent in (east1, east2, west, client):
            agent.ready(WITHIN_S)

        refused = client.request("PUT", f"/v1/agent/join/{west.address}")
        assert refused.status == 500
        assert "part of wrong datacenter 'west'" in refused.body.decode()
        assert client.request("PUT", "/v1/agent/join/x?wan=1").status == 500

        said = west.cli("join", "-wan", east1.address)
        assert said == "Successfully joined cluster by contacting 1 nodes.\n"
        everybody = ["s1.east", "s1.west", "s2.east"]
        for agent in (east1, east2, west):
            until(lambda agent=agent: wan_names(agent) == everybody, "all servers see all")
            found = agent.get("/v1/catalog/datacenters").json
            assert found == (["west", "east"] if agent is west else ["east", "west"])
        assert "s1.west" in east2.cli("members", "-wan")
        assert wan_names(client) == []
        assert client.cli("members").count("server") == 2
        until(lambda: _measured(east1) >= {"east", "west"}, "both are measured")
        until(lambda: knows_the_way(west, "s1.east"), "a probe has told how far it is")

        _asked_across(client, east2, west)
        _rotate(east1, key, other)
        info = west.cli("info")
        assert "known_datacenters = 2" in info
        assert "serf_wan" in info
        west.kill()
        until(lambda: wan_names(east2) == ["s1.east", "s2.east"], "its failure is seen")
        east1.cli("force-leave", "-wan", "s1.west")
        until(lambda: east2.get("/v1/catalog/datacenters").json == ["east"], "it has left")
        explained = east2.get("/v1/explain/datacenters").json
        assert explained["Pool"] == "running"
        assert [each["Name"] for each in explained["Datacenters"]] == ["east"]


def _asked_across(client: AgentProcess, east: AgentProcess, west: AgentProcess) -> None:
    """Reads, writes and waiting across the border, by a server and by a client agent."""
    for at, agent in enumerate((client, east)):
        assert agent.put(f"/v1/kv/k{at}?dc=west", b"there").json is True
        assert west.get(f"/v1/kv/k{at}?raw").body == b"there"
        assert agent.get(f"/v1/kv/k{at}").status == 404
        assert agent.get(f"/v1/kv/k{at}?dc=west&raw").body == b"there"
        (node,) = agent.get("/v1/catalog/nodes?dc=west").json
        assert (node["Node"], node["Datacenter"]) == ("s1", "west")
        lost = agent.get("/v1/kv/k0?dc=north")
        assert (lost.status, lost.body) == (500, b"No path to datacenter")
    index, asked = west.get("/v1/kv/k0").index, _asked(west)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        path = f"/v1/kv/k0?dc=west&raw&index={index}&wait=60s"
        held = pool.submit(client.get, path, timeout_s=90.0)
        until(lambda: _asked(west) > asked, "the question is there")
        west.put("/v1/kv/k0", b"new")
        assert held.result(60.0).body == b"new"
    assert client.cli("kv", "get", "-datacenter=west", "k1") == "there\n"
    assert client.get("/v1/catalog/datacenters").json == ["east", "west"]


def _asked(agent: AgentProcess) -> float:
    """Requests of other datacenters that have come in."""
    text = agent.get("/v1/agent/metrics?format=prometheus").body.decode()
    lines = [line for line in text.splitlines() if 'rpc_requests_total{kind="http"}' in line]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


def _measured(agent: AgentProcess) -> set[str]:
    found = agent.get("/v1/coordinate/datacenters").json
    return {each["Datacenter"] for each in found if each["Coordinates"]}


def _rotate(agent: AgentProcess, old: str, new: str) -> None:
    """A new key for the servers of both datacenters, and for the agents of one."""
    agent.cli("keyring", "-install", new)
    agent.cli("keyring", "-use", new)
    wan, lan = agent.get("/v1/operator/keyring").json
    assert (wan["WAN"], wan["NumNodes"], wan["PrimaryKeys"]) == (True, 3, {new: 3})
    assert (lan["Datacenter"], lan["NumNodes"], lan["PrimaryKeys"]) == ("east", 3, {new: 3})
    assert wan["Keys"] == {old: 3, new: 3}
