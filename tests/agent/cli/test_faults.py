"""The fault tester is at hand as commands, and says what is wrong with what it was given."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.cluster import cluster
from tests.ports import free_port


def lictor(*words: str, timeout_s: float = 50) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent", *words],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.mark.e2e
def test_a_running_cluster_is_tested_and_left_as_it_was(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        agent = made.add("dev", "-dev").ready()
        done = lictor("verify", "-seconds=1", f"-http-addr={agent.address}:8500")
        assert done.returncode == 0, done.stdout + done.stderr
        for name in ("linearizable", "serializable", "exactly-once", "staleness"):
            assert name in done.stdout
        assert "INVALID" not in done.stdout
        assert lictor("kv", "get", "-keys", f"-http-addr={agent.address}:8500").stdout == ""


def test_an_agent_that_is_not_there_is_named() -> None:
    done = lictor("verify", f"127.0.0.1:{free_port()}")
    assert done.returncode == 3
    assert "no agent that was named knows a leader" in done.stderr


def test_an_address_that_is_none_is_said_to_be_none() -> None:
    done = lictor("verify", "ftp://somewhere")
    assert done.returncode == 3
    assert "is no address of an agent" in done.stderr


def test_help_says_what_will_happen() -> None:
    assert "deleted afterwards" in lictor("verify", "-h").stdout
    assert "thrown away" in lictor("drill", "-h").stdout
