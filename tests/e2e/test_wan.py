"""Two datacenters, as whole agents with TLS: one join makes one pool of all servers, with one
keyring; requests, names, queries and snapshots cross the border; no false server is believed."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import json
import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Issued, TestCA
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
    ca = TestCA(tmp_path)
    flags = ("-server", f"-encrypt={key}")
    with cluster(tmp_path) as made:
        for_east = settings(tmp_path, "east", ca, ca.server("east", datacenter="east"))
        for_west = settings(tmp_path, "west", ca, ca.server("west", datacenter="west"))
        for_client = settings(tmp_path, "client", ca, ca.client("client"))
        east1 = made.add("s1", *flags, for_east, "-datacenter=east", "-bootstrap-expect=2")
        east2 = made.add("s2", *flags, for_east, "-datacenter=east", "-bootstrap-expect=2")
        alone = ("-datacenter=west", "-bootstrap")
        west = AgentProcess("s1", tmp_path / "w", *flags, for_west, *alone)
        made.agents.append(west)
        west.start()
        client = made.add("c1", f"-encrypt={key}", for_client, "-datacenter=east")
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
        _found_across(client, east2, west)
        _saved_across(client, east2, west, tmp_path)
        _false_server(east1, west, tmp_path, ca)
        _rotate(client, key, other)  # whose server reaches both pools
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


def settings(folder: Path, name: str, ca: TestCA, issued: Issued) -> str:
    """A file that demands TLS, names and all, and quick timings between the datacenters."""
    path = folder / f"{name}.json"
    internal = {
        "ca_file": str(ca.file),
        "cert_file": str(issued.cert),
        "key_file": str(issued.key),
        "verify_incoming": True,
        "verify_outgoing": True,
        "verify_server_hostname": True,
    }
    path.write_text(
        json.dumps(
            {
                "tls": {"internal_rpc": internal},
                "gossip_wan": {"profile": "lan"},
                "telemetry": {"prometheus_retention_time": "60s"},
            }
        )
    )
    return f"-config-file={path}"


def _found_across(client: AgentProcess, east: AgentProcess, west: AgentProcess) -> None:
    """Names of another datacenter, and queries that look there when nothing is at home."""
    body = {"Node": "far", "Address": "10.2.0.1", "Datacenter": "west",
            "Service": {"Service": "only-there", "Port": 81}}  # fmt: skip
    client.put("/v1/catalog/register", body)
    assert west.get("/v1/catalog/service/only-there").json[0]["Address"] == "10.2.0.1"
    lost = client.request("PUT", "/v1/catalog/register", body | {"Datacenter": "north"})
    assert (lost.status, lost.body) == (500, b"No path to datacenter")
    failover = {"Service": "only-there", "Failover": {"NearestN": 1}}
    client.request("POST", "/v1/query", {"Name": "some", "Service": failover})
    for agent in (client, east):
        assert agent.dns("only-there.service.consul") == []
        assert agent.dns("only-there.service.west.consul") == ["10.2.0.1"]
        assert agent.dns("only-there.service.west.consul", "SRV") == [
            "1 1 81 far.node.west.consul."
        ]
        assert agent.dns("s1.node.west.consul") == [west.address]
        assert agent.dns("web.service.north.consul") == []
        assert agent.dns("some.query.consul", "SRV") == ["1 1 81 far.node.west.consul."]
        found = agent.get("/v1/query/some/execute").json
        assert (found["Datacenter"], found["Failovers"]) == ("west", 1)
        assert [each["Node"]["Node"] for each in found["Nodes"]] == ["far"]
    away = client.get("/v1/explain/dns/only-there.service.west.consul").json["AskedElsewhere"]
    assert [(each["Datacenter"], each["Answered"]) for each in away] == [("west", True)]


def _saved_across(
    client: AgentProcess, east: AgentProcess, west: AgentProcess, folder: Path
) -> None:
    """A snapshot of another datacenter, through a server."""
    archive = folder / "west.snap"
    east.cli("snapshot", "save", "-datacenter=west", str(archive))
    west.put("/v1/kv/after", b"x")
    east.cli("snapshot", "restore", "-datacenter=west", str(archive))
    assert west.get("/v1/kv/after").status == 404
    assert west.get("/v1/kv/k1?raw").body == b"there"
    refused = client.get("/v1/snapshot?dc=west")
    assert (refused.status, b"taken through a server" in refused.body) == (400, True)


def _false_server(east: AgentProcess, west: AgentProcess, folder: Path, ca: TestCA) -> None:
    """Who answers at the address of a server with the certificate of another datacenter, though of
    the same authority, is told nothing."""
    issued = ca.server("false", datacenter="east")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.cert, issued.key)
    west.kill()
    heard: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                with contextlib.suppress(OSError), context.wrap_socket(plain, True) as secure:
                    heard.append(secure.recv(1))

    # Until it is missed, the pool of servers sends us there.
    with socket.create_server((west.address, 8300)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        refused = east.get("/v1/kv/k1?dc=west")
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10.0)
    assert (refused.status, b"server.west.consul" in refused.body) == (500, True), refused
    assert b"".join(heard) == b""
    west.start().ready(WITHIN_S)
    until(lambda: east.get("/v1/kv/k1?dc=west&raw").body == b"there", "the right one is asked")


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
