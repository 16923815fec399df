"""What a service manager hears."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import service_manager
from tests.e2e.cluster import AgentProcess
from tests.waiting import eventually


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


def test_lines_arrive_together(manager: socket.socket) -> None:
    service_manager.tell(service_manager.READY, "STATUS=x")
    assert manager.recv(100) == b"READY=1\nSTATUS=x"


def test_abstract_names_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("")  # the system chooses one
        name = listening.getsockname()
        assert name.startswith(b"\0")
        listening.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name[1:].decode())
        service_manager.tell("READY=1")
        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/no/such/socket"])
def test_nobody_there_is_no_trouble(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    service_manager.tell("READY=1")


@pytest.mark.e2e
def test_an_agent_says_when_it_serves_and_when_it_stops(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.e2e import cluster

    monkeypatch.setitem(cluster.ENVIRONMENT, "NOTIFY_SOCKET", str(tmp_path / "notify"))
    agent = AgentProcess("s1", tmp_path, "-server", "-bootstrap").start()
    try:
        assert manager.recv(100) == b"READY=1\nSTATUS=node s1"
        eventually(lambda: agent.get("/v1/agent/self").status == 200, within_s=10, what="it serves")
        assert agent.process is not None
        agent.process.terminate()
        assert manager.recv(100) == b"STOPPING=1"
        agent.wait()
    finally:
        agent.kill()
