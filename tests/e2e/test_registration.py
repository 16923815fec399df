"""Journey A: a service is registered and appears in HTTP and DNS, on every agent."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import pytest

from tests.e2e.cluster import AgentProcess, Cluster
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


def by_name(trio: Cluster, name: str) -> AgentProcess:
    return next(agent for agent in trio.agents if agent.name == name)


def test_a_service_registered_at_a_client_is_in_dns_within_a_second(trio: Cluster) -> None:
    c1 = by_name(trio, "c1")
    started = time.monotonic()
    c1.put("/v1/agent/service/register", {"Name": "web", "Port": 8080, "Tags": ["v1"]})
    for agent in trio.agents:
        eventually(
            lambda agent=agent: agent.dns("web.service.consul") == [c1.address],
            within_s=1,
            what=f"web in the DNS of {agent.name}",
        )
    assert time.monotonic() - started < 1
    assert c1.dns("v1.web.service.consul", "SRV") == ["1 1 8080 c1.node.dc1.consul."]
    assert c1.dns("web.service.consul", tcp=True) == [c1.address]


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("dig") is None, reason="dig (Debian: bind9-dnsutils) is absent")
def test_dig_reads_our_answers(trio: Cluster) -> None:
    c1 = by_name(trio, "c1")
    c1.put("/v1/agent/service/register", {"Name": "digged", "Port": 99})

    def digged() -> bool:
        done = subprocess.run(
            ["dig", "+short", "-p", "8600", f"@{c1.address}", "digged.service.consul", "SRV"],
            capture_output=True,
            text=True,
            timeout=10,
        )
        return done.stdout == "1 1 99 c1.node.dc1.consul.\n"

    eventually(digged, within_s=1)


def test_both_spellings_register_and_deregister(trio: Cluster) -> None:
    c2 = by_name(trio, "c2")
    definition = {"name": "snake", "enable_tag_override": True, "check": {"ttl": "30s"}}
    c2.put("/v1/agent/service/register", definition)
    assert c2.get("/v1/agent/service/snake").json["EnableTagOverride"] is True
    eventually(lambda: c2.get("/v1/catalog/service/snake").json, within_s=2)
    c2.put("/v1/agent/service/deregister/snake")
    eventually(lambda: c2.get("/v1/catalog/service/snake").json == [], within_s=2)


def test_a_ttl_check_decides_whether_the_service_is_found(trio: Cluster) -> None:
    c2 = by_name(trio, "c2")
    c2.put("/v1/agent/service/register", {"Name": "ttl", "Check": {"TTL": "30s"}})
    assert c2.dns("ttl.service.consul") == []
    c2.put("/v1/agent/check/pass/service:ttl?note=fine")
    eventually(lambda: c2.dns("ttl.service.consul") == [c2.address], within_s=2)
    c2.put("/v1/agent/check/fail/service:ttl")
    eventually(lambda: c2.dns("ttl.service.consul") == [], within_s=2)


def test_a_blocking_query_returns_when_its_service_changes_and_not_before(trio: Cluster) -> None:
    c1, s1 = by_name(trio, "c1"), by_name(trio, "s1")
    index = s1.get("/v1/health/service/blocked").index
    s1.put("/v1/kv/unrelated", b"x")
    started = time.monotonic()
    unchanged = s1.get(f"/v1/health/service/blocked?index={index}&wait=300ms")
    assert unchanged.json == []
    assert time.monotonic() - started >= 0.3
    c1.put("/v1/agent/service/register", {"Name": "blocked"})
    woken = s1.get(f"/v1/health/service/blocked?index={index}&wait=10s")
    assert [entry["Node"]["Node"] for entry in woken.json] == ["c1"]
    assert woken.index > index


def test_a_write_through_any_agent_is_read_by_every_other(trio: Cluster) -> None:
    for number, writer in enumerate(trio.agents):
        writer.put(f"/v1/kv/shared/{number}", str(number).encode())
        for reader in trio.agents:
            assert reader.get(f"/v1/kv/shared/{number}?raw").body == str(number).encode()


def test_the_catalog_holds_all_agents_with_their_health(trio: Cluster) -> None:
    s1 = by_name(trio, "s1")
    names = {agent.name for agent in trio.agents}
    eventually(lambda: {n["Node"] for n in s1.get("/v1/catalog/nodes").json} == names, within_s=10)
    eventually(
        lambda: (
            {
                c["Node"]: c["Status"]
                for c in s1.get("/v1/health/state/passing").json
                if c["CheckID"] == "serfHealth"
            }
            == dict.fromkeys(names, "passing")
        ),
        within_s=10,
    )
    instances = s1.get("/v1/health/service/consul?passing").json
    assert {entry["Node"]["Node"] for entry in instances} == {"s1", "s2", "s3"}


def test_an_event_fired_through_any_agent_is_kept_once_by_those_whom_it_means(
    trio: Cluster,
) -> None:
    names = [agent.name for agent in trio.agents]
    for agent in trio.agents:
        assert agent.cli("event", f"-name=from-{agent.name}", "hello").startswith("Event ID: ")
    trio.agents[0].put("/v1/event/fire/clients?node=^c", b"x")
    trio.agents[0].put("/v1/event/fire/servers?service=^consul$", b"x")
    last = trio.agents[-1].put("/v1/event/fire/last").json["ID"]
    for agent in trio.agents:
        eventually(
            lambda agent=agent: agent.get("/v1/event/list?name=last").json,
            within_s=5,
            what=f"the last event at {agent.name}",
        )

    def heard(agent: AgentProcess) -> list[str]:
        return sorted(each["Name"] for each in agent.get("/v1/event/list").json)

    everywhere = [f"from-{name}" for name in names] + ["last"]
    for agent in trio.agents:
        more = ["clients"] if agent.name.startswith("c") else []
        wanted = sorted(everywhere + more)
        eventually(lambda a=agent, w=wanted: heard(a) == w, within_s=5, what=agent.name)
    assert trio.agents[1].get("/v1/event/list?name=last").json[0]["ID"] == last
    # Nothing else says when an event has come that is not for this agent.
    c1 = by_name(trio, "c1")
    eventually(
        lambda: "servers" in c1.cli("explain", "events"), within_s=20, what="the event for others"
    )


def test_every_agent_is_found_in_the_network_and_near_itself_first(trio: Cluster) -> None:
    c1 = by_name(trio, "c1")
    names = sorted(agent.name for agent in trio.agents)
    eventually(
        lambda: [n["Node"] for n in c1.get("/v1/coordinate/nodes").json] == names,
        within_s=20,
        what="coordinates of all agents",
    )
    assert c1.get("/v1/catalog/nodes?near=c2").json[0]["Node"] == "c2"
    assert c1.get("/v1/catalog/nodes?near=_agent").json[0]["Node"] == "c1"
    assert c1.cli("rtt", "s1").startswith("Estimated s1 <-> c1 rtt: ")
    # The servers of all datacenters look at each other every five seconds only.
    eventually(
        lambda: c1.cli("rtt", "-wan", "s1.dc1", "s2.dc1").endswith("ms (using WAN coordinates)\n"),
        within_s=60, what="coordinates in the pool of servers",
    )  # fmt: skip
    assert "MeasuredCount" in c1.cli("explain", "coordinates")


def test_members_are_listed_by_the_command_line(trio: Cluster) -> None:
    printed = by_name(trio, "c1").cli("members")
    for agent in trio.agents:
        kind = "server" if agent.name.startswith("s") else "client"
        line = next(line for line in printed.splitlines() if line.startswith(agent.name + " "))
        assert f"{agent.address}:8301" in line
        assert "alive" in line
        assert kind in line
    told = json.loads(by_name(trio, "c1").cli("members", "-format=json", "-status=alive"))
    assert {each["Name"] for each in told} == {agent.name for agent in trio.agents}


def test_the_catalog_is_listed_as_data_too(trio: Cluster) -> None:
    c1 = by_name(trio, "c1")
    nodes = json.loads(c1.cli("catalog", "nodes", "-format=json"))
    assert {node["Node"] for node in nodes} == {agent.name for agent in trio.agents}
    assert json.loads(c1.cli("catalog", "nodes", "-format=json", "-service=none")) == []
    assert "consul" in json.loads(c1.cli("catalog", "services", "-format=json"))
    assert json.loads(c1.cli("catalog", "datacenters", "-format=json")) == ["dc1"]
    wrong = c1.cli("catalog", "datacenters", "-format=yaml", expect=1)
    assert wrong == "Unknown format: yaml\n"
