"""The program's files are replaced under a running agent."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from agent.program import PACKAGES
from tests.e2e.cluster import ENVIRONMENT, ROOT, cluster
from tests.waiting import eventually

TOLD = 'telemetry { prometheus_retention_time = "1m" }'

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(240)]


def test_nothing_of_the_next_release_is_loaded_until_the_agent_is_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "installed"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, installed / package)
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", str(installed))
    with cluster(tmp_path) as agents:
        agent = agents.add("dev", "-dev", "-hcl=" + TOLD).ready()
        assert not agent.get("/v1/explain/process").json["ProgramReplaced"]
        with (installed / "agent/http/query.py").open("a") as module:
            module.write("# as of the next release\n")
        refused = agent.get("/v1/query")
        assert (refused.status, b"kill -USR2" in refused.body) == (500, True), refused
        assert agent.get("/v1/catalog/nodes").status == 200
        assert "files of the program were replaced" in agent.log
        assert "agent's files were replaced" in agent.cli("doctor")
        metrics = agent.get("/v1/agent/metrics?format=prometheus").body.decode()
        assert "lictor_program_replaced_current 1" in metrics
        assert "lictor_program_loads_refused_total 1" in metrics
        agent.signal(signal.SIGUSR2)
        eventually(lambda: agent.get("/v1/query").status == 200, within_s=60)
        assert not agent.get("/v1/explain/process").json["ProgramReplaced"]
