"""The recorded HTTP scenarios, twice: against the HTTP face over a state machine in this process,
and against a whole development agent. What is not served yet stands in ``NOT_YET`` with its reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.config.schema import AgentConfig
from agent.local.agent import LocalAgent
from raftstore.commands import Register, SetAutopilot
from raftstore.records import SERF_HEALTH, AutopilotConfig, Check, CheckId, Node, NodeId, NodeName
from tests.agent.http.rig import NODE_ID, Rig, make_config
from tests.e2e.cluster import fresh_address
from tests.golden import http_replay

HERE = Path(__file__).parent
PROGRAM = Path(sys.executable).parent / "lictor"
START_MAX_S = 20.0

NOT_YET: dict[str, str] = {}
#: Paths whose steps are left out of their scenarios.
LATER_PATHS: tuple[str, ...] = ()
#: Scenarios about the server's own registration and its files, which only a whole agent has.
WHOLE_AGENT_ONLY = {"agent-node-maintenance", "agent-self-members", "snapshot"}
#: The scenario that waits for a TTL to run out.
TTL = "session-ttl"


def scenarios() -> dict[str, Any]:
    found = {}
    for folder in ("http", "http_mesh"):
        for path in sorted((HERE / folder).glob("*.json")):
            read = json.loads(path.read_text(encoding="utf-8"))
            read["steps"] = [s for s in read["steps"] if not s["path"].startswith(LATER_PATHS)]
            found[path.stem] = read
    return found


SCENARIOS = scenarios()


def cases(left_out: set[str]) -> list[Any]:
    return [
        pytest.param(
            name,
            marks=[pytest.mark.skip(reason=NOT_YET[name])] if name in NOT_YET else [],
        )
        for name in SCENARIOS
        if name not in left_out
    ]


def replay(url: str, name: str, scenario: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The steps of a scenario that were not answered as recorded."""
    runner = http_replay.Runner(url, http_replay.probe(url, ""))
    runner.scenario(scenario or SCENARIOS[name])
    return [step for step in runner.results if not step["ok"]]


# -- in this process -----------------------------------------------------------------------------


def this_node() -> Node:
    lan = dict.fromkeys(("lan", "lan_ipv4", "wan", "wan_ipv4"), "127.0.0.1")
    return Node(
        name=NodeName("n1"),
        id=NodeId(NODE_ID),
        address="127.0.0.1",
        datacenter="dc1",
        tagged_addresses=lan,
        meta={"consul-network-segment": ""},
    )


class WholeRig(Rig):
    """The rig with the real local agent in it."""

    async def start(self) -> WholeRig:
        health = Check(
            node=NodeName("n1"),
            id=CheckId(SERF_HEALTH),
            name="Serf Health Status",
            status="passing",
            output="Agent alive and reachable",
        )
        await self.backend.change(Register(node=this_node(), checks=(health,)))
        await self.backend.change(SetAutopilot(config=AutopilotConfig()))
        await super().start()
        return self


#: Where a recorded TTL of ten seconds is one of two, and pauses are shorter alike.
SHORT_TTL_S = 2.0


def shortened(scenario: dict[str, Any]) -> dict[str, Any]:
    short = json.loads(json.dumps(scenario).replace('"10s"', f'"{SHORT_TTL_S:.0f}s"'))
    for step in short["steps"]:
        if "sleep_ms" in step:
            step["sleep_ms"] = round(step["sleep_ms"] * SHORT_TTL_S / 10)
    return short


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with served(make_config(dev_mode=True)) as found:
        yield found


@contextlib.asynccontextmanager
async def served(config: AgentConfig) -> AsyncIterator[str]:
    rig = WholeRig(config)
    local = LocalAgent(rig.config, rig.backend, node=this_node)
    rig.use_local(local)
    await local.start()
    await rig.start()
    try:
        yield rig.url
    finally:
        await rig.stop()
        await local.stop()


@pytest.mark.parametrize("name", cases(WHOLE_AGENT_ONLY | {TTL}))
async def test_the_http_face_answers_as_recorded(name: str, url: str) -> None:
    assert await asyncio.to_thread(replay, url, name) == []


async def test_the_http_face_ends_a_session_as_recorded_in_a_fifth_of_the_time() -> None:
    async with served(make_config(dev_mode=True, session_ttl_min_s=SHORT_TTL_S)) as url:
        assert await asyncio.to_thread(replay, url, TTL, shortened(SCENARIOS[TTL])) == []


# -- a whole agent -------------------------------------------------------------------------------


def has_leader(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v1/catalog/nodes", timeout=2) as answer:
            return "serfHealth" in answer.read().decode() or answer.headers["X-Consul-Index"] != "1"
    except OSError:
        return False


@pytest.fixture(scope="module")
def agent_url() -> Iterator[str]:
    # The usual ports, as recorded, on an address that no other agent of this machine has.
    address = fresh_address()
    config = {
        "node_name": "gold-host",
        "bind_addr": address,
        "client_addr": address,
        "advertise_addr": "127.0.0.1",
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.json"
        path.write_text(json.dumps(config))
        log_path = Path(folder) / "agent.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [PROGRAM, "agent", "-dev", "-config-file", path], stdout=log, stderr=log
            )
        try:
            url = f"http://{address}:8500"
            deadline = time.monotonic() + START_MAX_S
            while not has_leader(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    last = log_path.read_text().strip().splitlines()[-1:]
                    pytest.fail(f"`lictor agent -dev` does not start: {last}")
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.mark.e2e
@pytest.mark.replay
@pytest.mark.parametrize("name", cases(set()))
def test_a_development_agent_answers_as_recorded(name: str, agent_url: str) -> None:
    assert replay(agent_url, name) == []
