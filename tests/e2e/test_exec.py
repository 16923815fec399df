"""`exec` on real agents: one that allows it and one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.cluster import AgentProcess, Cluster
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

ALLOWED = (
    "-hcl",
    "disable_remote_exec = false",
    "-hcl",
    "limits { remote_exec_output_max = 9000 }",
)


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> list[AgentProcess]:
    cluster = Cluster(tmp_path_factory.mktemp("exec"))
    try:
        (server,) = cluster.servers(1)
        client = cluster.add("willing", *ALLOWED).ready()
        eventually(
            lambda: client.get("/v1/health/node/willing").json, within_s=20, what="it is known"
        )
        yield [server, client]
    finally:
        cluster.stop()


def test_a_command_runs_where_it_is_allowed_and_its_end_is_told(
    agents: list[AgentProcess],
) -> None:
    server, _ = agents
    out = server.cli("exec", "-wait=2s", "echo one; echo two >&2; exit 3", expect=2)
    assert "    willing: one\n    willing: two\n" in out
    assert "==> willing: finished with exit code 3" in out
    assert "1 / 1 node(s) completed / acknowledged" in out
    assert server.get("/v1/kv/_rexec?keys").status == 404, "nothing is left behind"
    assert server.get("/v1/session/list").json == []


def test_words_and_filters(agents: list[AgentProcess], tmp_path: Path) -> None:
    _, client = agents
    out = client.cli("exec", "-wait=2s", "-shell=false", "-node=^will", "echo", "$HOME")
    assert "    willing: $HOME\n" in out
    out = client.cli("exec", "-wait=500ms", "-node=^other", "true")
    said, _, why = out.partition("\n")
    assert said == "0 / 0 node(s) completed / acknowledged"
    assert "disable_remote_exec = false" in why


def test_a_command_that_is_not_there_and_one_that_says_too_much(
    agents: list[AgentProcess],
) -> None:
    server, _ = agents
    out = server.cli("exec", "-wait=2s", "-shell=false", "/no/such/program", expect=2)
    assert "finished with exit code 255" in out
    out = server.cli("exec", "-wait=2s", "yes | head -c 20000")
    assert "output cut: limits.remote_exec_output_max is reached" in out
    assert len(out) < 120_000
