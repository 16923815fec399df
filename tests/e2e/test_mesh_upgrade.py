"""Agents and sidecars are replaced under load, and no request and no connection fails."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import proxy.errors
from tests.e2e.cluster import AgentProcess, Cluster, cluster
from tests.e2e.test_mesh import call, echo_server
from tests.e2e.test_mesh_http import app
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(600)]

HTTP_PORT, TCP_PORT = 15180, 15181
STAY = 'proxy { outlives_agent = "120s" workers = %d } leave_on_terminate = false'


class Load:
    """Requests over kept connections, over fresh ones, and bytes over fresh ones."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.done = 0
        self.failures: list[str] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=each, daemon=True)
            for each in (self._kept, self._kept, self._fresh, self._bytes)
        ]

    def __enter__(self) -> Load:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join(30)

    def more(self, count: int = 200) -> None:
        """Wait for so many more."""
        wanted = self.done + count
        eventually(lambda: self.done >= wanted, within_s=60, what="the load goes on")

    def _kept(self) -> None:
        connection = http.client.HTTPConnection(self.address, HTTP_PORT, timeout=30)
        while not self._over.is_set():
            self._request(connection)
            time.sleep(0.005)
        connection.close()

    def _fresh(self) -> None:
        while not self._over.is_set():
            connection = http.client.HTTPConnection(self.address, HTTP_PORT, timeout=30)
            self._request(connection)
            connection.close()
            time.sleep(0.02)

    def _request(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.request("GET", "/load")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                self.failures.append(f"{time.time():.3f} {answer.status} {body!r}")
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"{time.time():.3f} request {error!r}")
            connection.close()
        self.done += 1

    def _bytes(self) -> None:
        while not self._over.is_set():
            try:
                if call((self.address, TCP_PORT)) != b"hello":
                    self.failures.append(f"{time.time():.3f} closed")
            except OSError as error:
                self.failures.append(f"{time.time():.3f} bytes {error!r}")
            self.done += 1
            time.sleep(0.02)


def sidecars(agent: AgentProcess) -> dict[str, int]:
    """The process of each sidecar that an agent runs."""
    told = agent.get("/v1/explain/sidecars").json
    return {name: each["pid"] for name, each in told.items() if each["pid"]}


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture(scope="module", params=[1, 2], ids=["", "workers"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """One process a sidecar, or two behind one port."""
    pids: set[int] = set()
    stay = STAY % request.param
    with (
        cluster(tmp_path_factory.mktemp("upgrade")) as made,
        app("127.0.0.1", "one") as api,
        echo_server("127.0.0.1") as echo,
    ):
        made.add("s1", "-server", "-bootstrap-expect=1").ready(120)
        web = made.add("web-host", "-hcl", stay).ready(90)
        db = made.add("db-host", "-hcl", stay).ready(90)
        defaults = {"Kind": "service-defaults", "Name": "api", "Protocol": "http"}
        db.put("/v1/config", defaults)
        for name, port in (("api", api.port), ("db", echo)):
            db.put(
                "/v1/agent/service/register",
                {"Name": name, "Port": port, "Connect": {"SidecarService": {}}},
            )
        upstreams = [
            {"DestinationName": name, "LocalBindAddress": web.address, "LocalBindPort": port}
            for name, port in (("api", HTTP_PORT), ("db", TCP_PORT))
        ]
        sidecar = {"SidecarService": {"Proxy": {"Upstreams": upstreams}}}
        web.put("/v1/agent/service/register", {"Name": "web", "Port": 1, "Connect": sidecar})

        def flows() -> bool:
            connection = http.client.HTTPConnection(web.address, HTTP_PORT, timeout=5)
            connection.request("GET", "/")
            answered = connection.getresponse().status == 200
            connection.close()
            return answered and call((web.address, TCP_PORT)) == b"hello"

        eventually(flows, within_s=120, what="requests and bytes flow")
        try:
            yield made
        finally:
            for agent in (web, db):
                with contextlib.suppress(OSError, AssertionError):
                    pids |= set(sidecars(agent).values())
    for pid in pids:  # they would go on without their agents
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def replaced(agent: AgentProcess, before: dict[str, int]) -> None:
    """Wait until others serve in the place of these, and these have ended."""

    def over() -> bool:
        now = sidecars(agent)
        return set(now) == set(before) and not set(now.values()) & set(before.values())

    eventually(over, within_s=60, what="other processes run")
    eventually(
        lambda: not any(alive(pid) for pid in before.values()), within_s=120, what="old ones end"
    )


def test_sidecars_of_a_new_version_take_over_under_load(made: Cluster) -> None:
    _, web, db = made.agents
    with Load(web.address) as load:
        load.more()
        for agent in (db, web):
            before = sidecars(agent)
            os.utime(proxy.errors.__file__)  # as an upgrade on disk would
            agent.signal(signal.SIGHUP)
            replaced(agent, before)
            load.more()
    assert not load.failures, f"{len(load.failures)} of {load.done}: {load.failures[:5]}"


def test_sidecars_are_replaced_again_while_that_is_under_way(made: Cluster) -> None:
    """Three new versions within seconds: none waits for the one before, and nothing fails."""
    _, web, _ = made.agents
    with Load(web.address) as load:
        load.more()
        before = sidecars(web)
        for _ in range(3):
            now = sidecars(web)
            os.utime(proxy.errors.__file__)
            web.signal(signal.SIGHUP)
            eventually(
                lambda now=now: (
                    sidecars(web).keys() == now.keys()  # type: ignore[misc]
                    and not set(sidecars(web).values()) & set(now.values())
                ),
                within_s=60,
                what="another process was started",
            )
        replaced(web, before)
        load.more()
    assert not load.failures, f"{len(load.failures)} of {load.done}: {load.failures[:5]}"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_agent_is_started_again_under_load(made: Cluster, how: int) -> None:
    """That of web. While that of db is away, its host is found to have failed after some seconds,
    and nobody asks what runs there."""
    web = made.agents[1]
    with Load(web.address) as load:
        load.more()
        before = sidecars(web)
        web.signal(how)
        web.wait()
        load.more()  # nobody is there, and it goes on
        assert all(alive(pid) for pid in before.values())
        web.start().ready(90)
        replaced(web, before)
        load.more()
    assert not load.failures, f"{len(load.failures)} of {load.done}: {load.failures[:5]}"


def test_roots_and_leaves_are_replaced_under_load(made: Cluster) -> None:
    """New leaves every few seconds, and a new root twice, with both kinds of traffic."""
    server, web, db = made.agents

    def leaf(agent: AgentProcess, service: str) -> str:
        return str(agent.get(f"/v1/agent/connect/ca/leaf/{service}").json["CertPEM"])

    eventually(lambda: len(leaf(web, "web")) and call((web.address, TCP_PORT)) == b"hello",
               within_s=60, what="all is well")  # fmt: skip
    with Load(web.address) as load:
        load.more()
        for _ in range(3):
            for agent, service in ((web, "web"), (db, "api"), (db, "db")):
                agent.put(f"/v1/agent/connect/ca/leaf/{service}/renew")
            load.more()
        for _ in range(2):
            before = {
                service: leaf(agent, service) for agent, service in ((web, "web"), (db, "db"))
            }
            server.cli("connect", "ca", "rotate")
            eventually(
                lambda before=before: (
                    leaf(web, "web") != before["web"]  # type: ignore[misc]
                    and leaf(db, "db") != before["db"]
                ),
                within_s=120,
                what="leaves of the new root",
            )
            load.more(400)
    assert not load.failures, f"{len(load.failures)} of {load.done}: {load.failures[:5]}"
