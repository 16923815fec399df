"""Ten thousand connections at once: some idle, some that wait, some slow; others are served."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import AgentProcess, cluster, resident_mb
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.long, pytest.mark.timeout(600)]

CONNECTIONS, PER_ADDRESS = 10_000, 100
#: Python and uvloop take 16 kB for each; half of them hold a blocking query besides.
MEMORY_MAX_MB = 300.0


@contextlib.contextmanager
def crowd(agent: AgentProcess, held: bytes) -> Iterator[list[socket.socket]]:
    """Idle ones, half heads, and blocking queries, in turn."""
    with contextlib.ExitStack() as stack:
        made = []
        for number in range(CONNECTIONS):
            source = (f"127.66.{number // PER_ADDRESS // 200}.{1 + number // PER_ADDRESS % 200}", 0)
            each = socket.create_connection((agent.address, 8500), 30, source_address=source)
            stack.enter_context(each)
            made.append(each)
            match number % 4:
                case 0:
                    pass
                case 1:
                    each.sendall(b"GET /v1/kv/a HTTP/1.1\r\nHo")
                case _:
                    each.sendall(held)
        yield made


def test_others_are_served_beside_ten_thousand(tmp_path: Path) -> None:
    config = tmp_path / "crowd.json"
    limits = {"http_connections_max": CONNECTIONS + 2, "http_head_timeout": "5m"}
    config.write_text(json.dumps({"limits": limits}))
    with cluster(tmp_path) as made:
        flags = ("-server", "-bootstrap-expect=1", f"-config-file={config}")
        agent = made.add("a", *flags).ready(60.0)
        agent.put("/v1/kv/a", b"1")
        index = agent.get("/v1/kv/a").index
        held = f"GET /v1/kv/a?index={index}&wait=9m HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        assert agent.process is not None
        before = resident_mb(agent.process.pid)
        with crowd(agent, held) as sockets:
            for number in range(50):
                assert agent.get("/v1/kv/a?raw", timeout_s=30).body == b"1"
                agent.put("/v1/kv/other", str(number).encode(), timeout_s=30)
            assert resident_mb(agent.process.pid) - before < MEMORY_MAX_MB
            # No more than the bound: the last ones are told so.
            with contextlib.ExitStack() as stack:
                more = [
                    stack.enter_context(socket.create_connection((agent.address, 8500), 30))
                    for _ in range(4)
                ]
                said = eventually(lambda: _refusal(more), within_s=60)
                assert said.startswith(b"HTTP/1.1 429")
            agent.put("/v1/kv/a", b"2", timeout_s=60)
            for each in sockets[2::4]:
                each.settimeout(60)
                assert each.recv(4096).startswith(b"HTTP/1.1 200")
        eventually(lambda: agent.get("/v1/kv/a?raw", timeout_s=30).body == b"2", within_s=60)
        assert "Traceback" not in agent.log


def _refusal(sockets: list[socket.socket]) -> bytes:
    """What one of them was told without having asked."""
    for each in sockets:
        each.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            return each.recv(4096)
    return b""
