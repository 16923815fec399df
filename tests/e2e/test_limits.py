"""One client exceeds a limit as hard as it can; another one does not notice.

Each attack comes from an address of its own and goes on while the other client measures. What is
asked of the agent by the other stays answered, and about as soon as on a quiet agent.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import stat
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.certificates import TestCA
from tests.e2e.cluster import AgentProcess, cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

#: What the bystander asks, and how often: below its own rates.
ASKED, PAUSE_S = 50, 0.02
#: A machine of tests is busy with others too: what is shown is the order, not the millisecond.
SLACK_S = 0.15
LOOKS = 3
ATTACKER, BYSTANDER = "127.0.0.1", "127.0.0.9"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    folder = tmp_path_factory.mktemp("limits")
    ca = TestCA(folder)
    server = ca.server("server")
    settings: dict[str, object] = {
        "ports": {"https": 8501},
        "tls": {"https": {"cert_file": str(server.cert), "key_file": str(server.key)}},
        "telemetry": {"prometheus_retention_time": "1m"},
        "http_config": {"max_header_bytes": 8192},
        "limits": {
            "http_max_conns_per_client": 40,
            "kv_max_value_size": 4096,
            "https_handshakes_per_client": 5,
            "https_handshakes_max": 32,
            "https_handshake_timeout": "1s",
            "request_limits": {
                "mode": "enforcing",
                "client_read_rate": 100,
                "client_write_rate": 20,
                "token_read_rate": 100,
            },
        },
    }
    sink = {"type": "file", "path": str(folder / "audit.json"), "rotate_bytes": 100_000}
    settings["audit"] = {"enabled": True, "sink": {"all": sink}}
    path = folder / "limits.json"
    path.write_text(json.dumps(settings))
    with cluster(folder) as made:
        flags = ("-server", "-bootstrap-expect=1", f"-config-file={path}")
        agent = made.add("a", *flags).ready()
        agent.put("/v1/kv/a", b"1")
        yield agent


def connected(agent: AgentProcess, source: str, port: int = 8500) -> socket.socket:
    return socket.create_connection((agent.address, port), 5, source_address=(source, 0))


def bystander(agent: AgentProcess) -> list[float]:
    """Seconds that each of its requests took. All must be answered."""
    connection = http.client.HTTPConnection(agent.address, 8500, 30, (BYSTANDER, 0))
    took = []
    for _ in range(ASKED):
        begun = time.monotonic()
        connection.request("GET", "/v1/kv/a")
        answer = connection.getresponse()
        answer.read()
        took.append(time.monotonic() - begun)
        assert answer.status == 200, answer.status
        time.sleep(PAUSE_S)
    connection.close()
    return took


def p99(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98]


@contextlib.contextmanager
def under(attack: Callable[[], None], threads: int = 2) -> Iterator[None]:
    """While an attack goes on, again and again."""
    ending = threading.Event()

    def go_on() -> None:
        while not ending.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                attack()

    attackers = [threading.Thread(target=go_on, daemon=True) for _ in range(threads)]
    for each in attackers:
        each.start()
    try:
        yield
    finally:
        ending.set()
        for each in attackers:
            each.join(20)


def metric(agent: AgentProcess, name: str) -> float:
    text = agent.get("/v1/agent/metrics?format=prometheus").body.decode()
    found = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(name + " ")]
    assert found, f"no metric {name}"
    return float(found[0])


def many_connections(agent: AgentProcess) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(60):
            held.enter_context(connected(agent, ATTACKER))
        time.sleep(0.05)


def many_requests(agent: AgentProcess, target: str = "/v1/kv/a") -> None:
    connection = http.client.HTTPConnection(agent.address, 8500, 10, (ATTACKER, 0))
    with contextlib.closing(connection):
        for _ in range(200):
            connection.request("GET", target)
            connection.getresponse().read()


def huge_bodies(agent: AgentProcess) -> None:
    with connected(agent, ATTACKER) as sock:
        sock.sendall(b"PUT /v1/kv/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + bytes(65536) + b"\r\n"
        for _ in range(50):
            sock.sendall(piece)


def huge_heads(agent: AgentProcess) -> None:
    with connected(agent, ATTACKER) as sock:
        sock.sendall(b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        sock.recv(4096)
    with connected(agent, ATTACKER) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5000)))
        sock.recv(4096)


def slow_heads(agent: AgentProcess) -> None:
    with contextlib.ExitStack() as held:
        slow = [held.enter_context(connected(agent, ATTACKER)) for _ in range(30)]
        for byte in b"GET / HTTP/1.1\r\n":
            for each in slow:
                each.sendall(bytes([byte]))
            time.sleep(0.01)


def handshakes(agent: AgentProcess) -> None:
    with contextlib.ExitStack() as held:
        for number in range(20):
            each = held.enter_context(connected(agent, ATTACKER, 8501))
            if number % 2:
                each.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(400))
        time.sleep(0.05)


ATTACKS: dict[str, tuple[Callable[[AgentProcess], None], str]] = {
    "connections": (many_connections, "lictor_http_connections_refused_total"),
    "requests": (many_requests, 'lictor_request_limits_refused_total{kind="client read"}'),
    "requests about the agent": (
        lambda agent: many_requests(agent, "/v1/agent/services"),
        'lictor_request_limits_refused_total{kind="client read"}',
    ),
    "bodies": (huge_bodies, ""),
    "heads": (huge_heads, "lictor_http_malformed_total"),
    "slowness": (slow_heads, ""),
    "handshakes": (handshakes, 'lictor_http_tls_refused_total{kind="handshakes of one client"}'),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_one_client_over_a_limit_is_not_noticed_by_another(agent: AgentProcess, name: str) -> None:
    attack, counted = ATTACKS[name]
    before = metric(agent, counted) if counted else 0.0
    seen = []
    for _ in range(LOOKS):  # what others do to this machine passes, what an attack does stays
        quiet = p99(bystander(agent))
        with under(lambda: attack(agent)):
            busy = p99(bystander(agent))
        seen.append((quiet, busy))
        if busy < 2 * quiet + SLACK_S:
            break
    else:
        raise AssertionError((name, seen))
    if counted:
        assert metric(agent, counted) > before, "nothing was refused"


def test_limits_are_told(agent: AgentProcess) -> None:
    told = json.loads(agent.cli("explain", "-format=json", "limits"))
    assert told["Mode"] == "enforcing"
    assert told["Bounds"]["client read"]["Refused"] > 0


def test_certificates_and_rates_are_taken_over_by_a_reload(
    agent: AgentProcess, tmp_path: Path
) -> None:
    assert agent.cli("reload").strip() == "Configuration reload triggered"
    assert metric(agent, "lictor_https_reloads_total") == 1


def test_the_audit_log_has_each_request_and_is_put_aside(agent: AgentProcess) -> None:
    folder = agent.folder.parent
    agent.get("/v1/kv/told-to-the-log")
    current = folder / "audit.json"
    eventually(lambda: "told-to-the-log" in current.read_text(), within_s=5)
    assert list(folder.glob("audit-*.json"))
    assert stat.S_IMODE(current.stat().st_mode) == 0o600
    assert metric(agent, "lictor_audit_written_total") > 100


def test_a_server_bounds_what_comes_through_a_client_agent(tmp_path: Path) -> None:
    limits = {"request_limits": {"mode": "enforcing", "client_write_rate": 5}}
    path = tmp_path / "limits.json"
    path.write_text(json.dumps({"limits": limits}))
    with cluster(tmp_path) as made:
        made.add("s", "-server", "-bootstrap-expect=1", f"-config-file={path}").ready()
        client = made.add("c").ready()
        eventually(lambda: client.get("/v1/catalog/node/c").json, within_s=20)
        statuses = [client.request("PUT", "/v1/kv/a", b"x").status for _ in range(40)]
        assert set(statuses) == {200, 429}
        refused = client.request("PUT", "/v1/kv/a", b"x")
        assert refused.status == 429 and refused.headers["retry-after"] == "1"
        assert refused.body.startswith(b"rate limit exceeded")
        assert client.get("/v1/kv/a").status == 200
