"""Changed files of a running agent: what is said of them, and that they are followed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.cluster import cluster
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


def test_a_plan_says_what_a_reload_does_and_the_reload_does_it(tmp_path: Path) -> None:
    file = tmp_path / "a.hcl"
    file.write_text('log_level = "info"')
    with cluster(tmp_path) as agents:
        agent = agents.add("s1", "-server", "-bootstrap", f"-config-file={file}").ready()
        assert agent.cli("config-plan") == "Nothing has changed.\n"
        file.write_text(
            'log_level = "debug"\nports { sidecar_min_port = 21001 }\npeering { enabled = true }'
        )
        plan = json.loads(agent.cli("config-plan", "-format=json"))
        assert {each["Key"]: each["Effect"] for each in plan["Changes"]} == {
            "log_level": "live",
            "peering.enabled": "no effect",
            "ports.sidecar_min_port": "needs restart",
        }
        assert {tuple(each["Sources"]) for each in plan["Changes"]} == {(str(file),)}
        agent.cli("reload")
        assert "waits for a restart of the agent key=ports.sidecar_min_port" in agent.log
        plan = json.loads(agent.cli("config-plan", "-format=json"))
        assert [each["Key"] for each in plan["Changes"]] == [
            "peering.enabled",
            "ports.sidecar_min_port",
        ]
        file.write_text("bootstrap_expect = 3\nperformance { raft_multiplier = 11 }")
        out = agent.cli("config-plan", expect=1)
        assert "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive" in out
        assert f"bootstrap_expect is set in {file}\n" in out
        assert "bootstrap is set in flags\n" in out
        file.write_text("nope = 1")
        out = agent.cli("config-plan", expect=1)
        assert out.startswith(f"Invalid, a reload would change nothing: failed to parse {file}: 1")
        assert "invalid config key nope" in out


def test_files_are_followed_where_the_operator_wants_it(tmp_path: Path) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "a.hcl").write_text("auto_reload_config = true")
    with cluster(tmp_path) as agents:
        agent = agents.add("s1", "-server", "-bootstrap", f"-config-dir={folder}").ready()
        (folder / "b.hcl").write_text('service { name = "web" }')
        eventually(
            lambda: "web" in agent.get("/v1/agent/services").json,
            within_s=20,
            what="the new file is taken over",
        )
        (folder / "b.hcl").unlink()
        eventually(
            lambda: "web" not in agent.get("/v1/agent/services").json,
            within_s=20,
            what="and its end too",
        )


def test_metadata_of_the_node_follow_a_reload(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"node_meta": {"rack": "one"}}')
    with cluster(tmp_path) as agents:
        agent = agents.add("s1", "-server", "-bootstrap", f"-config-file={file}").ready()

        def rack() -> str:
            found = agent.get("/v1/catalog/node/s1").json  # null before it is registered
            return str(found["Node"]["Meta"].get("rack")) if found else ""

        eventually(lambda: rack() == "one", within_s=20, what="it is registered")
        file.write_text('{"node_meta": {"rack": "two"}}')
        agent.cli("reload")
        eventually(lambda: rack() == "two", within_s=20, what="the new one is registered")


def test_files_without_an_agent(tmp_path: Path) -> None:
    with cluster(tmp_path) as agents:
        agent = agents.add("unused", "-server", "-bootstrap")
        file = tmp_path / "x.hcl"
        file.write_text('bind_addr = "127.0.0.1"\ndata_dir = "d"\nlog_level = "warn"')
        out = agent.cli("config-plan", str(file))
        assert out.splitlines()[0].split() == ["Key", "Effect", "Said", "by"]
        assert f"log_level  live           {file}" in out
