"""A restart in place: no listening port is gone, no registration, and nobody sees a leave."""

from __future__ import annotations

import http.client
import shutil
import signal
import threading
import time

import pytest

from tests.e2e.cluster import AgentProcess, Cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.calm, pytest.mark.timeout(120)]


class Caller:
    """Opens a connection for every request, one after the other."""

    def __init__(self, agent: AgentProcess) -> None:
        self._agent = agent
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered = 0
        self.refused: list[str] = []
        self.longest_s = 0.0

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            connection = http.client.HTTPConnection(self._agent.address, 8500, timeout=30)
            try:
                connection.connect()
            except OSError as error:
                self.refused.append(repr(error))
                continue
            try:
                connection.request("GET", "/v1/agent/services", headers={"Connection": "close"})
                connection.getresponse().read()
                self.answered += 1
            except (OSError, http.client.HTTPException):
                pass  # in flight while the former self ended
            finally:
                connection.close()
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self._stop.wait(0.01)

    def __enter__(self) -> Caller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)


def restart(agent: AgentProcess) -> None:
    ran = agent.log.count("Consul agent running!")
    agent.signal(signal.SIGUSR2)
    eventually(lambda: agent.log.count("Consul agent running!") == ran + 1, within_s=30)


def test_a_client_agent_restarts_without_losing_port_or_registration(fresh: Cluster) -> None:
    server = fresh.servers(1)[0]
    client = fresh.add("c1").ready()
    check = {"TTL": "60s", "Status": "passing"}
    client.put("/v1/agent/service/register", {"Name": "web", "Port": 80, "Check": check})
    before = eventually(lambda: server.get("/v1/health/service/web?passing").json, within_s=10)
    assert client.process is not None
    with Caller(client) as caller:
        eventually(lambda: caller.answered > 5, within_s=10)
        restart(client)
        seen = caller.answered
        eventually(lambda: caller.answered > seen + 5, within_s=20)
        assert server.get("/v1/health/service/web?passing").json
    assert client.process.poll() is None
    assert caller.refused == []
    eventually(client.leader, within_s=10)
    after = server.get("/v1/health/service/web?passing").json
    indexes = [entry["Service"]["CreateIndex"] for entry in (*before, *after)]
    assert len(set(indexes)) == 1, "it was never away"
    assert "left" not in server.cli("members")
    assert client.dns("web.service.consul") == [client.address]


def test_a_server_alone_restarts_in_place_with_its_state(fresh: Cluster) -> None:
    server = fresh.servers(1)[0]
    server.put("/v1/kv/k", b"v")
    with Caller(server) as caller:
        restart(server)
        server.ready()
    assert caller.refused == []
    assert server.get("/v1/kv/k?raw").body == b"v"
    server.signal(signal.SIGTERM)
    server.wait()


def test_it_goes_on_as_it_is_when_its_files_are_refused(fresh: Cluster, tmp_path) -> None:
    config = tmp_path / "extra.json"
    config.write_text("{}")
    agent = fresh.add("dev", "-dev", f"-config-file={config}").ready()
    config.write_text('{"no_such_key": 1}')
    agent.signal(signal.SIGUSR2)
    eventually(lambda: "not restarting" in agent.log, within_s=10)
    assert agent.log.count("Consul agent running!") == 1
    assert agent.leader()


@pytest.mark.long
def test_a_reinstalled_host_takes_its_name_over_and_leaves_no_ghosts(fresh: Cluster) -> None:
    server = fresh.servers(1)[0]
    client = fresh.add("c1").ready()
    client.put("/v1/agent/service/register", {"Name": "old", "Port": 80})
    eventually(lambda: server.get("/v1/catalog/service/old").json, within_s=10)
    before = server.get("/v1/catalog/node/c1").json["Node"]["ID"]
    client.kill()
    shutil.rmtree(client.folder / "data")
    client.start().ready()
    client.put("/v1/agent/service/register", {"Name": "new", "Port": 81})
    eventually(lambda: server.get("/v1/health/service/new?passing").json, within_s=30)
    eventually(lambda: server.get("/v1/catalog/service/old").json == [], within_s=30)
    assert server.get("/v1/catalog/node/c1").json["Node"]["ID"] != before
