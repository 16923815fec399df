"""Two datacenters under access control: what a token of one is worth in the other, where a
coordinate goes that names a datacenter, and who is kept out of their rings."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import AgentProcess, Response, cluster, fresh_address
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(240)]

WITHIN_S = 60.0
EAST = "4b2f1c3e-7a1d-4c55-9b1e-0c6a5b8f3d21"
WEST = "5c3a2d4f-8b2e-4d66-8c2f-1d7b6c9a4e32"
#: The same secret in both datacenters, and not the same rights.
BOTH = "6d4b3e5a-9c3f-4e77-9d3a-2e8c7d0b5f43"
PLACE = {"Adjustment": 0, "Error": 1.5, "Height": 1e-05, "Vec": [0.0] * 8}


def settings(folder: Path, datacenter: str, secret: str, networks: list[str]) -> str:
    path = folder / f"{datacenter}{len(networks)}.json"
    path.write_text(
        json.dumps(
            {
                "datacenter": datacenter,
                "acl": {
                    "enabled": True,
                    "default_policy": "deny",
                    "token_ttl": "1s",
                    "tokens": {"initial_management": secret, "agent": secret},
                },
                "serf_lan_allowed_cidrs": networks,
                "serf_wan_allowed_cidrs": networks,
                "gossip_wan": {"profile": "lan"},
                "consul": {"coordinate": {"update_period": "100ms"}},
                "telemetry": {"prometheus_retention_time": "60s"},
            }
        )
    )
    return f"-config-file={path}"


def token(agent: AgentProcess, secret: str, rules: str) -> None:
    """A token with the secret of both datacenters."""
    shown = {"X-Consul-Token": secret}
    policy = agent.put("/v1/acl/policy", {"Name": "both", "Rules": rules}, headers=shown).json
    body = {"SecretID": BOTH, "Policies": [{"ID": policy["ID"]}]}
    agent.put("/v1/acl/token", body, headers=shown)


def until(look: Any, what: str) -> Any:
    return eventually(look, within_s=WITHIN_S, what=what)


def said(answer: Response) -> tuple[int, str]:
    return answer.status, answer.body.decode()


def test_rights_and_members_end_at_the_border(tmp_path: Path) -> None:
    first = fresh_address()
    networks = [first.rpartition(".")[0] + ".0/24"]
    for_east = settings(tmp_path, "east", EAST, networks)
    for_west = settings(tmp_path, "west", WEST, networks)
    with cluster(tmp_path) as made:
        east = AgentProcess("s1", tmp_path / "e", "-server", "-bootstrap", for_east, address=first)
        west = AgentProcess("s1", tmp_path / "w", "-server", "-bootstrap", for_west)
        made.agents += [east.start(), west.start()]
        client = AgentProcess("c1", tmp_path, for_east, f"-retry-join={east.address}")
        made.agents.append(client.start())
        for agent in made.agents:
            agent.ready(WITHIN_S)
        joined = ("join", f"-token={WEST}", "-wan", east.address)
        until(lambda: west.cli(*joined), "the pools are one")
        shown = {"X-Consul-Token": EAST}
        until(
            lambda: client.get("/v1/catalog/datacenters", headers=shown).json == ["east", "west"],
            "both are known",
        )
        _tokens(east, west, client)
        _coordinates(east, west, client)
        _strangers(made.agents, east, tmp_path, settings(tmp_path, "east", EAST, []))


def _tokens(east: AgentProcess, west: AgentProcess, client: AgentProcess) -> None:
    """Each datacenter judges by its own tokens, whoever carries the question."""
    token(east, EAST, 'key_prefix "e/" { policy = "write" }')
    token(west, WEST, 'key_prefix "w/" { policy = "write" }')
    denied = (403, "Permission denied")
    for agent in (east, client):

        def put(key: str, secret: str, dc: str, agent: AgentProcess = agent) -> tuple[int, str]:
            headers = {"X-Consul-Token": secret} if secret else {}
            return said(agent.request("PUT", f"/v1/kv/{key}?dc={dc}", b"v", headers=headers))

        until(lambda put=put: put("e/1", BOTH, "east") == (200, "true"), "it counts at home")
        assert put("w/1", BOTH, "west") == (200, "true")
        assert put("w/1", BOTH, "east") == denied
        assert put("e/1", BOTH, "west") == denied
        assert put("w/1", WEST, "west") == (200, "true")
        assert put("w/1", EAST, "west") == (403, "ACL not found"), "tokens are not carried over"
        assert put("w/1", "", "west") == denied, "nobody is nobody there as well"
        assert put("e/1", WEST, "east") == (403, "ACL not found")
        headers = {"X-Consul-Token": BOTH}
        keys = agent.get("/v1/kv/?keys&dc=west", headers=headers).json
        assert keys == ["w/1"]
    assert west.get("/v1/kv/w/1?raw", headers={"X-Consul-Token": WEST}).body == b"v"


def _coordinates(east: AgentProcess, west: AgentProcess, client: AgentProcess) -> None:
    """A coordinate whose body names a datacenter goes there, and has to be allowed there."""
    update = {"Datacenter": "west", "Node": "s1", "Segment": "far", "Coord": PLACE}
    path = "/v1/coordinate/update"
    for agent in (east, client):
        told = agent.request("PUT", path, update, headers={"X-Consul-Token": BOTH})
        assert said(told) == (403, "Permission denied")
        assert agent.put(path, update, headers={"X-Consul-Token": WEST}).body == b""
    lost = client.request(
        "PUT", path, update | {"Datacenter": "north"}, headers={"X-Consul-Token": EAST}
    )
    assert said(lost) == (500, "No path to datacenter")
    shown = {"X-Consul-Token": WEST}
    found = until(
        lambda: west.get("/v1/coordinate/node/s1?segment=far", headers=shown).json,
        "the coordinate is in the catalog of the west",
    )
    assert [(each["Node"], each["Segment"]) for each in found] == [("s1", "far")]
    here = east.get("/v1/coordinate/node/s1?segment=far", headers={"X-Consul-Token": EAST})
    assert here.status == 404, "not in ours"


def _strangers(
    agents: list[AgentProcess], east: AgentProcess, folder: Path, open_to_all: str
) -> None:
    """An agent at an address outside of the networks is in neither ring."""
    process = os.getpid()
    outside = f"127.{201 + process % 50}.{process // 50 % 250}.9"
    join = f"-retry-join={east.address}"
    agents.append(AgentProcess("x1", folder, open_to_all, join, address=outside).start())
    shown = {"X-Consul-Token": EAST}

    def refusal() -> bool:
        told = east.get("/v1/explain/member/x1", headers=shown)
        return "is outside of the networks that are allowed" in told.body.decode()

    until(refusal, "the claim is refused, in words")
    members = east.get("/v1/agent/members", headers=shown).json
    assert sorted(each["Name"] for each in members) == ["c1", "s1"]
    text = east.get("/v1/agent/metrics?format=prometheus", headers=shown).body.decode()
    (line,) = [line for line in text.splitlines() if 'gossip_dropped_total{kind="unfit' in line]
    assert float(line.rpartition(" ")[2]) >= 1
    assert "is outside of the networks" in east.log
