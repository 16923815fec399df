"""The command line reaches an agent over HTTPS and over a socket of a path, as a user would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Issued, TestCA
from tests.e2e.cluster import AgentProcess, cluster
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCA:
    return TestCA(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def agent(ca: TestCA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    """A server whose API is on a port of HTTPS that demands certificates, and on a path."""
    folder = tmp_path_factory.mktemp("https")
    with cluster(folder) as made:
        server = ca.server("server")
        https = {
            "ca_file": str(ca.file),
            "cert_file": str(server.cert),
            "key_file": str(server.key),
            "verify_incoming": True,
        }
        settings = {
            "ports": {"https": 8501},
            "addresses": {"http": f"unix://{folder}/api.sock"},
            "unix_sockets": {"mode": "0600"},
            "tls": {"https": https},
        }
        (folder / "https.json").write_text(json.dumps(settings))
        flags = ("-server", "-bootstrap-expect=1", f"-config-file={folder / 'https.json'}")
        yield made.add("a", *flags)


def over_path(agent: AgentProcess) -> str:
    return f"-http-addr=unix://{agent.folder.parent}/api.sock"


def over_tls(agent: AgentProcess, ca: TestCA, ours: Issued | None) -> list[str]:
    words = [
        f"-http-addr=https://{agent.address}:8501",
        f"-ca-file={ca.file}",
        "-tls-server-name=localhost",
    ]
    if ours is not None:
        words += [f"-client-cert={ours.cert}", f"-client-key={ours.key}"]
    return words


def test_over_a_path(agent: AgentProcess) -> None:
    eventually(lambda: "Success" in agent.cli("kv", "put", over_path(agent), "a", "1"), within_s=20)
    assert agent.cli("kv", "get", over_path(agent), "a") == "1\n"
    assert "connection refused" in agent.cli("kv", "get", "a", expect=1)


def test_over_tls_with_a_certificate_and_not_without(agent: AgentProcess, ca: TestCA) -> None:
    ours = over_tls(agent, ca, ca.client("user"))
    assert "Success" in agent.cli("kv", "put", *ours, "b", "2")
    assert agent.cli("kv", "get", *ours, "b") == "2\n"
    agent.cli("kv", "get", *over_tls(agent, ca, None), "b", expect=1)
    agent.cli("members", *ours)


def test_a_server_that_is_none_of_ours_is_not_believed(
    agent: AgentProcess, ca: TestCA, tmp_path: Path
) -> None:
    stranger = TestCA(tmp_path, "stranger")
    words = over_tls(agent, stranger, ca.client("user2"))
    assert "certificate verify failed" in agent.cli("kv", "get", *words, "b", expect=1)
    renamed = [each for each in over_tls(agent, ca, ca.client("user3")) if "name" not in each]
    assert "certificate verify failed" in agent.cli("kv", "get", *renamed, "b", expect=1)
