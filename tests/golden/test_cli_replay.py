"""The recorded command line scenarios, played with the installed program and a real agent."""

from __future__ import annotations

import socket
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


@pytest.fixture(scope="module")
def program() -> Path:
    return PROGRAM


@pytest.fixture(scope="module")
def agent_url(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One fresh server in development mode with the default ports."""
    address = fresh_address()
    log_path = tmp_path_factory.mktemp("agent") / "log"
    with log_path.open("wb") as log:
        agent = subprocess.Popen(
            [program, "agent", "-dev", "-node=gold-host", f"-bind={address}", f"-client={address}"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        eventually(
            lambda: player.call(f"http://{address}:8500", "GET", "/v1/status/leader")[1] != '""',
            within_s=60,
            what="the agent has a leader",
        )
        eventually(
            lambda: (
                player.call(f"http://{address}:8500", "GET", "/v1/agent/connect/ca/roots")[0] == 200
            ),
            within_s=60,
            what="the agent has a root certificate",
        )
        yield f"http://{address}:8500"
    finally:
        agent.terminate()
        try:
            agent.wait(20)
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()


def play(program: Path, url: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runner = player.Runner(str(program), url)
    scenario = cli_scenarios.scenario(name)
    assert scenario["steps"]
    runner.scenario(scenario)
    assert runner.failed == 0, capsys.readouterr().out


#: Scenarios that start the installed program itself.
STARTED = ("help-catalog-kv", "keygen", "tls-ca", "unknown-command", "version")


@pytest.fixture(scope="module")
def forked() -> Iterator[ForkedCli]:
    with forking(player) as cli:
        yield cli


@pytest.mark.parametrize("name", cli_scenarios.names(alone=True))
def test_a_command_without_an_agent_answers_as_recorded(
    name: str,
    program: Path,
    forked: ForkedCli,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name not in STARTED:
        monkeypatch.setattr(player, "execute", forked.execute)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        play(program, f"http://127.0.0.1:{nobody.getsockname()[1]}", name, capsys)


@pytest.mark.parametrize("name", cli_scenarios.names(alone=False))
def test_a_command_with_an_agent_answers_as_recorded(
    name: str,
    program: Path,
    agent_url: str,
    forked: ForkedCli,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(player, "execute", forked.execute)
    play(program, agent_url, name, capsys)


def test_steps_are_left_out_only_for_commands_that_do_not_exist() -> None:
    assert not cli_scenarios.built() & set(cli_scenarios.LATER)


def test_the_player_fails_on_a_wrong_answer(
    program: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = player.Runner(str(program), "http://127.0.0.1:1")
    scenario = cli_scenarios.scenario("version")
    scenario["steps"][0]["stdout"] = "something else\n"
    runner.scenario(scenario)
    assert runner.failed == 1
