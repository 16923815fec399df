"""DNS goes on while leaders die and servers are away, with worker processes as without."""

from __future__ import annotations

import json
import time
from pathlib import Path

import dns.exception
import pytest

from tests.e2e.cluster import AgentProcess, Cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.calm, pytest.mark.timeout(180)]

SERVICE = {"Node": "n1", "Address": "10.0.0.1", "Service": {"Service": "web", "Port": 80}}


def answers(agent: AgentProcess) -> list[str]:
    try:
        return agent.dns("web.service.consul.")
    except (OSError, dns.exception.DNSException):
        return []


def test_survivors_answer_without_a_gap_and_a_client_while_all_servers_are_away(
    fresh: Cluster,
) -> None:
    servers = fresh.servers(3)
    client = fresh.add("c1").ready()
    client.put("/v1/catalog/register", SERVICE)
    for agent in (*servers, client):
        eventually(lambda a=agent: answers(a) == ["10.0.0.1"], within_s=20)  # type: ignore[misc]
    leader = fresh.by_leader()
    survivors = [server for server in servers if server is not leader]
    leader.kill()
    until = time.monotonic() + 3.0  # an election lies within
    asked = 0
    while time.monotonic() < until:
        for agent in survivors:
            assert answers(agent) == ["10.0.0.1"], f"{agent.name} has a gap"
            asked += 1
    assert asked > 20
    eventually(lambda: answers(client) == ["10.0.0.1"], within_s=20)
    for agent in survivors:
        agent.kill()
    # The first question after a loss waits half a second for servers; none is left unanswered.
    for _ in range(5):
        assert answers(client) == ["10.0.0.1"]
    stats = client.get("/v1/agent/self").json["Stats"]["dns"]
    assert int(stats["resolver_remembered"]) >= 5
    assert 0 < float(stats["resolver_remembered_age_s"]) < 60


def test_workers_follow_the_catalog_of_a_whole_agent(fresh: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "dns.json"
    path.write_text(json.dumps({"dns_config": {"workers": 2}}))
    agent = fresh.add("w1", "-dev", f"-config-file={path}").ready()
    agent.put("/v1/catalog/register", SERVICE)
    eventually(lambda: answers(agent) == ["10.0.0.1"], within_s=20)
    agent.put("/v1/catalog/register", SERVICE | {"Address": "10.0.0.2"})
    eventually(lambda: all(answers(agent) == ["10.0.0.2"] for _ in range(8)), within_s=20)
    assert agent.dns("web.service.consul.", tcp=True) == ["10.0.0.2"]
