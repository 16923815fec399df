"""The recorded HTTP scenarios with access control on: in this process, and against whole agents,
one of them a server and one an agent that asks it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.config.schema import AclConfig, AclTokens
from tests.agent.http.rig import make_config
from tests.e2e.cluster import fresh_address
from tests.golden import http_replay
from tests.golden.test_http_replay import served

PROGRAM = Path(sys.executable).parent / "lictor"
START_MAX_S = 30.0
#: The management token that the configuration begins with.
TOKEN = "4b2f1c3e-7a1d-4c55-9b1e-0c6a5b8f3d21"
SCENARIOS = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parent / "http_acl").glob("*.json"))
}
ACL = AclConfig(
    enabled=True,
    default_policy="deny",
    tokens=AclTokens(initial_management=TOKEN, agent=TOKEN),
)


def replay(url: str, name: str) -> list[dict[str, Any]]:
    """The steps of a scenario that were not answered as recorded."""
    runner = http_replay.Runner(url, http_replay.probe(url, TOKEN))
    runner.scenario(SCENARIOS[name])
    return [step for step in runner.results if not step["ok"]]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with served(make_config(dev_mode=True, acl=ACL)) as found:
        yield found


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_http_face_answers_as_recorded(name: str, url: str) -> None:
    assert await asyncio.to_thread(replay, url, name) == []


# -- whole agents --------------------------------------------------------------------------------


def is_ready(url: str) -> bool:
    """Whether the management token is known, and this agent's node is in the catalog."""
    request = urllib.request.Request(f"{url}/v1/health/state/passing")
    request.add_header("X-Consul-Token", TOKEN)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read().count(b"serfHealth") > 0
    except OSError:
        return False


@contextmanager
def agent(*flags: str, **config: Any) -> Iterator[str]:
    """One agent with access control on an address of its own; gives that."""
    address = fresh_address()
    given = {
        "bind_addr": address,
        "client_addr": address,
        "acl": {
            "enabled": True,
            "default_policy": "deny",
            "tokens": {"initial_management": TOKEN, "agent": TOKEN},
        },
        **config,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.json"
        path.write_text(json.dumps(given))
        log_path = Path(folder) / "agent.log"
        if not flags:
            flags = ("-data-dir", str(Path(folder) / "data"))
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [PROGRAM, "agent", *flags, "-config-file", path], stdout=log, stderr=log
            )
        try:
            deadline = time.monotonic() + START_MAX_S
            while not is_ready(f"http://{address}:8500"):
                if process.poll() is not None or time.monotonic() > deadline:
                    last = log_path.read_text().strip().splitlines()[-3:]
                    pytest.fail(f"`lictor agent` does not start: {last}")
                time.sleep(0.1)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server alone, as in the recordings."""
    with agent("-dev", node_name="gold-host", advertise_addr="127.0.0.1") as address:
        yield address


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        lone = stack.enter_context(agent("-dev", node_name="gold-host"))
        client = stack.enter_context(
            agent(node_name="gold-client", server=False, retry_join=[lone], retry_interval="1s")
        )
        yield {"server": lone, "client": client}


@pytest.mark.e2e
@pytest.mark.replay
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_server_answers_as_recorded(name: str, server: str) -> None:
    assert replay(f"http://{server}:8500", name) == []


#: Steps whose recorded answer is that of a server with its own node alone.
OF_A_LONE_SERVER = {"acl-role#9", "acl-token-transport#15"}


@pytest.mark.e2e
@pytest.mark.replay
@pytest.mark.parametrize("name", SCENARIOS)
def test_an_agent_that_asks_a_server_answers_as_recorded(
    name: str, addresses: dict[str, str]
) -> None:
    bad = replay(f"http://{addresses['client']}:8500", name)
    assert [step for step in bad if step["step"] not in OF_A_LONE_SERVER] == []
