"""Schemathesis reads /v1/openapi.json and asks for all that it allows, and much that it does not.

Consul answers much bad input with 500, so a 500 by itself is no fault here: one without words of
the contract is, which the agent logs as a failed request. Blocking queries end after a second, so
an answer that takes long is a hang.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.cluster import cluster, resident_mb
from tests.interop.clients import FOLDER

PROGRAM = FOLDER / "bin" / "schemathesis"
#: Ends the agent, has no end, or is a file of the whole state.
NEVER = r"/v1/agent/(leave|monitor|metrics/stream|join|force-leave)|/v1/watch|/v1/snapshot"
#: How long it may go on asking, and an answer may take on a busy machine, in seconds.
ASKS_S, ANSWER_S = 15, 30

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not PROGRAM.exists(), reason="schemathesis is not in .interop (make interop-clients)"
    ),
]


def statuses(report: Path) -> set[int]:
    """Every status that was answered."""
    found: set[int] = set()
    waiting: list[object] = [json.loads(line) for line in report.read_text().splitlines()]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += each.values()
            if isinstance(each.get("status_code"), int):
                found.add(each["status_code"])
        elif isinstance(each, list):
            waiting += each
    return found


def test_nothing_that_the_description_allows_is_answered_with_a_fault(tmp_path: Path) -> None:
    config = tmp_path / "short.json"
    config.write_text(json.dumps({"max_query_time": "1s", "default_query_time": "1s"}))
    report = tmp_path / "report.ndjson"
    with cluster(tmp_path) as made:
        agent = made.add("asked", "-dev", f"-config-file={config}").ready(60.0)
        done = subprocess.run(
            [str(PROGRAM), "run", f"http://{agent.address}:8500/v1/openapi.json",
             "--phases=coverage,fuzzing", "--max-examples=3", "--seed=1", "--no-shrink",
             "--checks=status_code_conformance", "--continue-on-failure", "--no-color",
             f"--exclude-path-regex={NEVER}", f"--request-timeout={ANSWER_S}",
             f"--max-time={ASKS_S}", "--suppress-health-check=all", "--workers=1",
             "--report=ndjson", f"--report-ndjson-path={report}"],
            capture_output=True, text=True, timeout=500, cwd=tmp_path,
        )  # fmt: skip
        # Network errors and statuses that the description does not have end it with 1.
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr
        seen = statuses(report)
        assert {200, 400, 404} <= seen and not {each for each in seen if each > 500}, seen
        assert "request failed" not in agent.log and "Traceback" not in agent.log
        assert agent.leader()
        assert agent.process is not None and resident_mb(agent.process.pid) < 400
