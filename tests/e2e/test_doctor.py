"""`doctor` beside a real agent, and where there is none."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import LICTOR, cluster

pytestmark = pytest.mark.e2e


def look(address: str, *words: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [str(LICTOR), "doctor", f"-http-addr={address}", "-format=json", *words],
        env=os.environ,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, {each["Check"]: each for each in json.loads(done.stdout)}


def test_a_healthy_agent_passes_and_every_trouble_has_a_remedy(tmp_path: Path) -> None:
    with cluster(tmp_path) as agents:
        agents.servers(1)
        client = agents.add("c1").ready()
        status, found = look(f"{client.address}:8500")
        assert status == 0, found
        for check in ("agent", "leader", "udp", "clocks", "address", "fsync", "dns"):
            assert found[check]["Level"] == "ok", found[check]
        assert all(each["Fix"] or each["Level"] == "ok" for each in found.values()), found
        assert client.cli("explain", "process").count("Files") == 3


def test_no_agent_is_a_failure_with_a_remedy() -> None:
    status, found = look("127.0.0.1:1")
    assert status == 1
    assert found["agent"]["Level"] == "fail"
    assert found["agent"]["Fix"]
