"""The recorded command line scenarios with access control on, played with the installed program and
a real agent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import fresh_address
from tests.golden import cli_scenarios
from tests.golden.forked_cli import ForkedCli, forking
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.replay]
player = cli_scenarios.load_player()
PROGRAM = Path(sys.executable).with_name("lictor")
FOLDER = Path(__file__).parent / "cli_acl"
TOKEN = "aaaaaaaa-0000-4000-8000-00000000d00d"


@pytest.fixture(scope="module")
def agent_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One fresh server in development mode that denies what no token allows."""
    address, folder = fresh_address(), tmp_path_factory.mktemp("agent")
    tokens = {"initial_management": TOKEN, "agent": TOKEN}
    settings = {"acl": {"enabled": True, "default_policy": "deny", "tokens": tokens}}
    (folder / "acl.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        agent = subprocess.Popen(
            [
                PROGRAM, "agent", "-dev", "-node=gold-host", f"-bind={address}",
                f"-client={address}", f"-config-file={folder / 'acl.json'}",
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )  # fmt: skip
    url = f"http://{address}:8500"
    try:
        for path in ("/v1/acl/token/self", "/v1/connect/ca/configuration"):
            eventually(
                lambda path=path: player.call(url, "GET", path, token=TOKEN)[0] == 200,
                within_s=60,
                what=f"{path} is answered",
            )
        yield url
    finally:
        agent.terminate()
        try:
            agent.wait(20)
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()


@pytest.fixture(scope="module")
def forked() -> Iterator[ForkedCli]:
    with forking(player) as cli:
        yield cli


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.json")))
def test_a_command_with_access_control_answers_as_recorded(
    name: str,
    agent_url: str,
    forked: ForkedCli,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(player, "execute", forked.execute)
    scenario = json.loads((FOLDER / f"{name}.json").read_text())
    assert scenario["steps"]
    for step in scenario["steps"]:
        # One recording has the index at which its own agent was bootstrapped.
        if "(reset index: 5)" in str(step.get("stderr", "")):
            step["stderr"] = step["stderr"].replace("index: 5)", "index: <index>)")
    runner = player.Runner(str(PROGRAM), agent_url, TOKEN)
    runner.scenario(scenario)
    assert runner.failed == 0, capsys.readouterr().out
