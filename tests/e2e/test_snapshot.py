"""An operator saves the state of a cluster, ruins it, and restores it; and into another cluster."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import AgentProcess, Cluster, cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]

READS = (
    "/v1/kv/app/?recurse",
    "/v1/catalog/node/far",
    "/v1/health/service/db",
    "/v1/session/list",
    "/v1/connect/intentions",
    "/v1/connect/ca/roots",
)
SAID = (
    *READS,
    "/v1/operator/autopilot/configuration",
)
#: Numbers of the log: a restore gives all rows new ones.
NUMBERS = {"CreateIndex", "ModifyIndex"}
BLOCKS = 120
BLOCK_BYTES = 30_000


def shown(agent: AgentProcess, path: str) -> Any:
    return less_numbers(agent.get(path).json)


def less_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: less_numbers(v) for k, v in value.items() if k not in NUMBERS}
    if isinstance(value, list):
        return [less_numbers(item) for item in value]
    return value


def fill(agent: AgentProcess) -> str:
    """Something of every kind; gives the session."""
    rng = random.Random(5)
    for number in range(BLOCKS):  # large enough that restoring takes a while
        agent.put(f"/v1/kv/app/{number:03d}", rng.randbytes(BLOCK_BYTES))
    node = {
        "Node": "far",
        "Address": "10.9.9.9",
        "NodeMeta": {"external-node": "true"},
        "Service": {"Service": "db", "Port": 5432, "Tags": ["primary"]},
        "Check": {"Name": "up", "Status": "passing", "ServiceID": "db"},
    }
    agent.put("/v1/catalog/register", node)
    wanted = {"Node": "far", "TTL": "3600s", "NodeChecks": []}
    session = str(agent.put("/v1/session/create", wanted).json["ID"])
    assert agent.put(f"/v1/kv/app/lock?acquire={session}", b"held").json is True
    intention = {"SourceName": "web", "DestinationName": "db", "Action": "allow"}
    assert agent.request("POST", "/v1/connect/intentions", intention).status == 200
    return session


def ruin(agent: AgentProcess, session: str) -> None:
    agent.put(f"/v1/session/destroy/{session}")
    agent.request("DELETE", "/v1/kv/app/?recurse")
    agent.put("/v1/kv/app/other", b"x")
    agent.put("/v1/catalog/deregister", {"Node": "far"})
    agent.request("DELETE", "/v1/connect/intentions/exact?source=web&destination=db")


class Watcher(threading.Thread):
    """A blocking query that begins now."""

    def __init__(self, agent: AgentProcess, path: str) -> None:
        super().__init__(daemon=True)
        self._agent = agent
        self.before = agent.get(path)
        self._path = f"{path}{'&' if '?' in path else '?'}index={self.before.index}&wait=120s"
        self.after: Any = None
        self.start()

    def run(self) -> None:
        self.after = self._agent.get(self._path, timeout_s=150)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("snapshot")) as made:
        made.servers(3)
        made.add("c1").ready()
        yield made


@pytest.fixture(scope="module")
def saved(made: Cluster) -> tuple[Path, dict[str, Any], str]:
    """A file, what the cluster said at that time, and a session."""
    session = fill(made.agents[0])
    path = made.folder / "backup.snap"
    said = {read: shown(made.agents[0], read) for read in SAID}
    assert "Saved and verified snapshot to index" in made.agents[3].cli(
        "snapshot", "save", "-append-filename=dc,node,status", str(path)
    )
    path = path.with_name(f"backup-dc1-{made.agents[3].name}-client.snap")
    assert path.stat().st_mode & 0o777 == 0o600
    return path, said, session


def test_everything_is_as_saved_and_no_index_fell(
    made: Cluster, saved: tuple[Path, dict[str, Any], str]
) -> None:
    path, said, session = saved
    client = made.agents[3]
    leader = made.by_leader()
    doomed = next(agent for agent in made.agents[:3] if agent is not leader)
    ruin(leader, session)
    assert leader.get(f"/v1/session/info/{session}").json == []
    watchers = [Watcher(leader, read) for read in READS]
    # One server dies while the parts are on their way, and is back when all is done.
    restored: list[str] = []

    def restore() -> None:
        # Through the leader: what goes through a server that dies is not known to have happened.
        restored.append(leader.cli("snapshot", "restore", str(path), timeout_s=90))

    restoring = threading.Thread(target=restore)
    restoring.start()
    eventually(
        lambda: (leader.get("/v1/explain/restore").json["Staged"] or {}).get("Parts", 0) > 5,
        within_s=60,
        what="parts are staged",
    )
    doomed.kill()
    restoring.join(100)
    assert restored == ["Restored snapshot\n"]
    for watcher in watchers:
        watcher.join(20)
        assert watcher.after is not None and watcher.after.index > watcher.before.index
    doomed.start().ready()
    for agent in (leader, client, doomed):
        for read in SAID:
            assert shown(agent, read) == said[read], (agent.name, read)
    stale = doomed.get("/v1/kv/app/?recurse&stale")
    assert less_numbers(stale.json) == said["/v1/kv/app/?recurse"]
    lock = leader.get("/v1/kv/app/lock").json[0]
    assert lock["Session"] == session and lock["LockIndex"] == 1
    assert leader.get("/v1/catalog/nodes").json[0]["Node"], "the members are in the catalog"
    told = leader.get("/v1/history?table=restores").json["Changes"]
    assert [change["Table"] for change in told] == ["restores"]
    assert told[0]["Actor"]["Node"] == leader.name


def test_a_leader_that_dies_in_a_restore_has_changed_nothing(
    made: Cluster, saved: tuple[Path, dict[str, Any], str]
) -> None:
    path, _, _ = saved
    leader = made.by_leader()
    others = [agent for agent in made.agents[:3] if agent is not leader]
    leader.put("/v1/kv/after", b"kept")
    failed: list[bool] = []

    def restore() -> None:
        try:
            failed.append(leader.put("/v1/snapshot", path.read_bytes()).status != 200)
        except (OSError, AssertionError):
            failed.append(True)

    restoring = threading.Thread(target=restore)
    restoring.start()
    eventually(
        lambda: (others[0].get("/v1/explain/restore?stale").json["Staged"] or {}).get("Parts", 0),
        within_s=60,
        what="parts are staged",
    )
    leader.kill()
    restoring.join(20)
    assert failed == [True]
    eventually(others[0].leader, within_s=20)
    assert others[0].get("/v1/kv/after?raw").body == b"kept"
    leader.start().ready()
    assert leader.get("/v1/kv/after?raw").body == b"kept"


def test_what_is_no_archive_is_refused_and_changes_nothing(
    made: Cluster, saved: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    path, said, _ = saved
    agent = made.agents[3]
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for bad, words in (
        (b"garbage", "failed to decompress snapshot: unexpected EOF"),
        (whole[:middle], "unexpected EOF"),
        (flipped, "snapshot"),
    ):
        refused = agent.request("PUT", "/v1/snapshot", bad)
        assert refused.status == 500
        assert words in refused.body.decode()
    file = tmp_path / "bad.snap"
    file.write_bytes(flipped)
    assert "Error restoring snapshot: " in agent.cli("snapshot", "restore", str(file), expect=1)
    assert "Error reading snapshot: " in agent.cli("snapshot", "inspect", str(file), expect=1)
    assert shown(agent, "/v1/kv/app/?recurse") == said["/v1/kv/app/?recurse"]


def test_an_archive_goes_into_a_cluster_of_its_own(
    saved: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    path, said, session = saved
    with cluster(tmp_path) as fresh:
        agent = fresh.servers(1)[0]
        agent.put("/v1/kv/before", b"gone")
        before = agent.get("/v1/kv/?recurse")
        agent.cli("snapshot", "restore", str(path))
        for read in SAID:
            assert shown(agent, read) == said[read], read
        assert agent.get("/v1/kv/before").status == 404
        assert agent.get("/v1/kv/?recurse").index > before.index
        servers = agent.get("/v1/operator/raft/configuration").json["Servers"]
        assert [server["Node"] for server in servers] == ["s1"]
        # Leader's duties start over: the server itself is in its catalog again.
        eventually(
            lambda: agent.get("/v1/health/service/consul").json,
            within_s=20,
            what="the server is registered",
        )
        agent.put(f"/v1/kv/app/lock?release={session}", b"free")
        written = agent.get("/v1/kv/app/lock").json[0]
        assert written["ModifyIndex"] > before.index
        described = json.loads(agent.cli("snapshot", "inspect", "-format=json", str(path)))
        assert described["Meta"]["Index"] > 0
