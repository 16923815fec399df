"""Servers come, go, die and are replaced, as an operator would do it; writes go on meanwhile."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import AgentProcess, Cluster, cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.calm, pytest.mark.timeout(240)]

#: Contact is judged generously, and new servers vote soon: tests run on busy machines.
FAST = (
    '-hcl=autopilot { last_contact_threshold = "5s" }',
    '-hcl=autopilot { server_stabilization_time = "1s" }',
)
SERVER = ("-server", *FAST)


def peers(agent: AgentProcess) -> dict[str, dict[str, Any]]:
    """The Raft servers by name."""
    found = agent.get("/v1/operator/raft/configuration").json["Servers"]
    return {server["Node"]: server for server in found}


def voters(agent: AgentProcess) -> set[str]:
    return {name for name, server in peers(agent).items() if server["Voter"]}


def node_id(agent: AgentProcess) -> str:
    return str(agent.get("/v1/agent/self").json["Config"]["NodeID"])


def wait_for_voters(agent: AgentProcess, *names: str, within_s: float = 60.0) -> None:
    eventually(
        lambda: voters(agent) == set(names), within_s=within_s, what=f"{', '.join(names)} vote"
    )


def can_find_each_other(servers: list[AgentProcess]) -> None:
    """From their next start on, whichever of them is there first."""
    for server in servers:
        server.flags += tuple(f"-retry-join={other.address}" for other in servers)
        server.flags += ("-retry-interval=1s",)


def grown(made: Cluster) -> list[AgentProcess]:
    """One server, then two more that join it by themselves."""
    first = made.add("s1", *SERVER, "-bootstrap-expect=1").ready()
    started = [first, made.add("s2", *SERVER), made.add("s3", *SERVER)]
    wait_for_voters(first, "s1", "s2", "s3")
    can_find_each_other(started)
    return started


class Writer:
    """A client that writes one key after the other through one agent, each until it is taken."""

    def __init__(self, agent: AgentProcess) -> None:
        self._agent = agent
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.acknowledged: list[str] = []
        self.failures: list[str] = []

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def goes_on(self) -> None:
        """Wait until more has been written."""
        before = len(self.acknowledged)
        eventually(
            lambda: len(self.acknowledged) > before + 20, within_s=20, what="the client writes"
        )

    def _write(self) -> None:
        number = 0
        while not self._stop.is_set():
            key = f"w/{number:06}"
            try:
                answer = self._agent.request("PUT", f"/v1/kv/{key}", key.encode())
            except OSError as error:
                self.failures.append(f"{key}: {error}")
                continue
            if answer.status == 200 and answer.json is True:
                self.acknowledged.append(key)
                number += 1
            else:
                self.failures.append(f"{key}: {answer}")


def stored(agent: AgentProcess) -> set[str]:
    return set(agent.get("/v1/kv/w/?keys").json)


def test_one_server_grows_to_three_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        first, second, third = grown(made)
        first.put("/v1/kv/w/early", b"1")
        eventually(lambda: second.get("/v1/kv/w/early?stale").status == 200, within_s=5)
        former = node_id(third)
        third.kill()
        shutil.rmtree(third.folder / "data")
        third.start().ready(60)
        assert node_id(third) != former
        eventually(
            lambda: (
                {s["ID"] for s in peers(first).values() if s["Voter"]}
                == {node_id(a) for a in (first, second, third)}
            ),
            within_s=90,
            what="the new server votes and the old one is gone",
        )
        # Now the first one may go: what it held is on the others.
        first.kill()
        second.ready(30)
        assert second.get("/v1/kv/w/early").status == 200
        eventually(
            lambda: (
                json.loads(second.cli("operator", "autopilot", "state", "-format=json"))[
                    "FailureTolerance"
                ]
                == 0
            ),
            within_s=60,
        )


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three servers, for tests that leave all three voting; the last of them need not."""
    with cluster(tmp_path_factory.mktemp("standing")) as made:
        grown(made)
        yield made


def test_leadership_moves_under_a_writing_client(standing: Cluster) -> None:
    servers = standing.agents[:3]
    client = standing.add("c1").ready()
    with Writer(client) as writer:
        for _ in range(2):
            writer.goes_on()
            leader = standing.by_leader()
            target = next(s for s in servers if s is not leader)
            said = client.cli("operator", "raft", "transfer-leader", f"-id={node_id(target)}")
            assert said == "Success\n"
            where = f"{target.address}:8300"
            eventually(lambda at=where: client.leader() == at, within_s=20)
    assert writer.failures == []
    assert set(writer.acknowledged) <= stored(client)


HOW = {
    "terminated": (signal.SIGTERM,) * 3,
    "killed": (signal.SIGKILL,) * 3,
    "mixed": (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL),
}


@pytest.mark.parametrize(
    ("how", "order"),
    [
        ("terminated", (0, 1, 2)),
        ("terminated", (2, 1, 0)),
        ("killed", (1, 0, 2)),
        ("mixed", (2, 0, 1)),
    ],
)
def test_stopped_in_any_way_and_started_in_any_order_the_cluster_is_back(
    how: str, order: tuple[int, int, int], standing: Cluster
) -> None:
    servers = standing.agents[:3]
    servers[0].put("/v1/kv/w/before", b"1")
    for server, number in zip(servers, HOW[how], strict=True):
        server.signal(number)
    for server in servers:
        server.wait(30)
    for at in order:
        servers[at].start()
    for server in servers:
        server.ready(60)
        assert server.get("/v1/kv/w/before").status == 200
        server.put(f"/v1/kv/w/{server.name}", b"1")
    wait_for_voters(servers[0], "s1", "s2", "s3")


def test_a_server_is_removed_or_leaves_and_the_rest_goes_on(standing: Cluster) -> None:
    servers = standing.agents[:3]
    leader = standing.by_leader()
    others = [s for s in servers if s is not leader]
    with Writer(others[0]) as writer:
        writer.goes_on()
        leader.cli("leave")
        assert leader.wait(30) == 0
        wait_for_voters(others[0], *(s.name for s in others), within_s=30)
    assert set(writer.acknowledged) <= stored(others[0])
    # One that is gone for good, and that nobody may clean up by himself.
    others[0].cli("operator", "autopilot", "set-config", "-cleanup-dead-servers=false")
    leader.start()
    wait_for_voters(others[0], *(s.name for s in servers))
    gone = peers(others[0])[leader.name]["ID"]
    leader.kill()
    eventually(lambda: others[0].leader() and others[0].put("/v1/kv/w/x", b""), within_s=30)
    said = others[0].cli("operator", "raft", "remove-peer", f"-id={gone}")
    assert said == f'Removed peer with id "{gone}"\n'
    assert voters(others[0]) == {s.name for s in others}


@pytest.mark.long
def test_a_lost_quorum_is_recovered_from_the_one_that_is_left(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        servers = made.servers(3)
        for number in range(20):
            servers[0].put(f"/v1/kv/w/{number}", b"1")
        survivor = servers[2]
        last = servers[0].get("/v1/kv/w/19").index
        eventually(lambda: survivor.get("/v1/kv/w/19?stale").index == last, within_s=10)
        own_id = node_id(survivor)
        for server in servers:
            server.kill()
        for server in servers[:2]:
            shutil.rmtree(server.folder / "data")
        folder = f"-data-dir={survivor.folder / 'data'}"
        planned = survivor.cli("raft", "recover", "-plan", folder)
        assert f"Seed: {own_id}" in planned
        assert "Writes that were acknowledged and reached none of these servers" in planned
        refused = survivor.cli("raft", "recover", "-apply", folder, expect=1)
        assert f"-confirm={own_id}" in refused
        survivor.cli("raft", "recover", "-apply", folder, f"-confirm={own_id}")
        survivor.flags = SERVER
        survivor.start().ready(30)
        assert len(survivor.get("/v1/kv/w/?keys").json) == 20
        for server in servers[:2]:
            server.flags = (*SERVER, f"-retry-join={survivor.address}")
            server.start()
        wait_for_voters(survivor, "s1", "s2", "s3")
        assert len(servers[0].get("/v1/kv/w/?keys").json) == 20
