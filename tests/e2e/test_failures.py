"""Journey B and worse: hosts and leaders die by kill -9, and everything at once."""

from __future__ import annotations

import itertools
import signal
import threading
import time

import pytest

from tests.e2e.cluster import AgentProcess, Cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.calm, pytest.mark.timeout(120)]


class Writer:
    """Writes one key after the other through one agent and remembers what was acknowledged."""

    def __init__(self, agent: AgentProcess, prefix: str) -> None:
        self.agent = agent
        self.prefix = prefix
        self.acknowledged: list[tuple[float, str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, name=f"writer {prefix}")

    def _write(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            key = f"{self.prefix}/{number}"
            try:
                answer = self.agent.request("PUT", f"/v1/kv/{key}", key.encode(), timeout_s=15)
            except OSError:
                continue
            if answer.status == 200 and answer.json is True:
                self.acknowledged.append((time.monotonic(), key))

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def missing(self, reader: AgentProcess) -> list[str]:
        """Acknowledged keys that a reader does not see."""
        present = set(reader.get(f"/v1/kv/{self.prefix}/?keys&consistent").json)
        return [key for _, key in self.acknowledged if key not in present]


def test_a_killed_leader_is_replaced_within_three_seconds_and_nothing_is_lost(
    three: Cluster,
) -> None:
    servers = three.agents[:3]
    leader = three.by_leader()
    survivor = next(s for s in servers if s is not leader)
    with Writer(survivor, "kill") as writer:
        eventually(lambda: len(writer.acknowledged) > 50, within_s=10)
        leader.kill()
        died = time.monotonic()
        back = eventually(
            lambda: next((at for at, _ in writer.acknowledged if at > died + 0.001), None),
            within_s=10,
        )
        eventually(lambda: len(writer.acknowledged) > 100, within_s=10)
    assert back - died < 3, f"writes were back after {back - died:.2f} s"
    assert not writer.missing(survivor)
    leader.start().ready()
    eventually(lambda: not writer.missing(leader), within_s=10)


def test_a_leader_that_is_stopped_hands_over_and_writes_hardly_notice(three: Cluster) -> None:
    servers = three.agents[:3]
    leader = three.by_leader()
    survivor = next(s for s in servers if s is not leader)
    with Writer(survivor, "stop") as writer:
        eventually(lambda: len(writer.acknowledged) > 50, within_s=10)
        leader.signal(signal.SIGTERM)
        leader.wait()
        seen = len(writer.acknowledged)
        eventually(lambda: len(writer.acknowledged) > seen + 50, within_s=10)
    leader.start().ready()
    times = [at for at, _ in writer.acknowledged]
    longest = max(after - before for before, after in itertools.pairwise(times))
    assert "leadership handed over" in leader.log
    assert longest < 1.0, f"no write for {longest:.2f} s"  # an election by timeout takes over 1 s
    assert not writer.missing(survivor)


def test_everything_survives_kill_and_restart_of_all_servers(three: Cluster) -> None:
    servers = three.agents[:3]
    client = three.add("c1").ready()
    client.put("/v1/agent/service/register", {"Name": "web", "Port": 80})
    servers[0].cli("intention", "create", "-deny", "a", "b")
    with Writer(client, "all") as writer:
        eventually(lambda: len(writer.acknowledged) > 50, within_s=10)
        for server in servers:
            server.kill()
        for server in servers:
            server.start()
        for server in servers:
            server.ready()
        seen = len(writer.acknowledged)
        eventually(lambda: len(writer.acknowledged) > seen + 10, within_s=20)
    assert not writer.missing(servers[0])
    assert [e["Node"] for e in servers[1].get("/v1/catalog/service/web").json] == ["c1"]
    assert servers[2].get("/v1/connect/intentions").json[0]["Action"] == "deny"
    eventually(lambda: client.dns("web.service.consul") == [client.address], within_s=10)


def test_the_services_of_a_dead_host_leave_dns_within_fifteen_seconds(three: Cluster) -> None:
    servers = three.agents[:3]
    doomed = three.add("c2").ready()
    doomed.put("/v1/agent/service/register", {"Name": "doomed", "Port": 80})
    for server in servers:
        eventually(lambda s=server: s.dns("doomed.service.consul") == [doomed.address], within_s=5)
    doomed.kill()
    died = time.monotonic()
    for server in servers:
        eventually(lambda s=server: s.dns("doomed.service.consul") == [], within_s=15)
    assert time.monotonic() - died < 15
    checks = servers[0].get("/v1/health/node/c2").json
    serf = next(check for check in checks if check["CheckID"] == "serfHealth")
    assert (serf["Status"], serf["Output"]) == ("critical", "Agent not live or unreachable")
    assert "failed" in servers[0].cli("members")
    explained = servers[0].cli("explain", "member", "c2")
    assert "c2" in explained


def test_a_client_that_leaves_is_gone_from_the_catalog_at_once(fresh: Cluster) -> None:
    server = fresh.servers(1)[0]
    client = fresh.add("c1").ready()
    client.put("/v1/agent/service/register", {"Name": "web", "Port": 80})
    eventually(lambda: server.dns("web.service.consul") == [client.address], within_s=5)
    client.signal(signal.SIGTERM)
    assert client.wait() == 0
    eventually(lambda: server.dns("web.service.consul") == [], within_s=5)
    eventually(
        lambda: [n["Node"] for n in server.get("/v1/catalog/nodes").json] == ["s1"], within_s=5
    )
    assert "left" in server.cli("members")


def test_an_agents_registrations_survive_its_restart(fresh: Cluster) -> None:
    fresh.servers(1)
    client = fresh.add("c1").ready()
    client.put(
        "/v1/agent/service/register",
        {"Name": "web", "Port": 80, "Check": {"TTL": "60s", "Status": "passing"}},
    )
    client.put("/v1/agent/check/pass/service:web?note=before")
    # The state of TTL checks is written in the background: nobody waits for it.
    states = client.folder / "data" / "checks" / "state"

    def kept() -> bool:
        files = [f for f in states.iterdir() if f.suffix != ".tmp"]
        return any(b"before" in f.read_bytes() for f in files)

    eventually(kept, within_s=5)
    client.kill()
    client.start().ready()
    assert "web" in client.get("/v1/agent/services").json
    check = client.get("/v1/agent/checks").json["service:web"]
    assert (check["Status"], check["Output"]) == ("passing", "before")
    eventually(lambda: client.dns("web.service.consul") == [client.address], within_s=10)
