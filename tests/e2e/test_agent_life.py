"""Start, limits, signals and bad input, as an operator meets them."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.cluster import LICTOR, ROOT, AgentProcess, Cluster, cpu_share, resident_mb
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
WHOLE_PROGRAM = True


@pytest.mark.alone
def test_three_servers_are_ready_in_under_four_seconds_and_idle_cheaply(fresh: Cluster) -> None:
    # pip compiles what it installs; a checkout has its byte code from the second start on.
    packages = [str(ROOT / name) for name in ("agent", "raftstore", "gossip", "proxy")]
    subprocess.run([sys.executable, "-m", "compileall", "-q", *packages], check=True)
    started = time.monotonic()
    servers = [fresh.add(f"s{i}", "-server", "-bootstrap-expect=3") for i in (1, 2, 3)]
    for server in servers:
        server.ready()
    took = time.monotonic() - started
    assert took < 4, f"ready after {took:.2f} s"
    for server in servers:
        assert server.process is not None
        assert resident_mb(server.process.pid) < 80
    eventually(lambda: cpu_share(servers[0].process.pid, 2.0) < 0.02, within_s=20, what="idle CPU")  # type: ignore[union-attr]


def test_the_banner_and_texts_that_tools_wait_for(dev: AgentProcess) -> None:
    assert "Consul agent running!" in dev.log
    eventually(lambda: "Synced node info" in dev.log, within_s=5)
    assert "Node name: 'dev'" in dev.log


def test_an_unknown_key_is_refused_by_file_and_key(tmp_path: Path) -> None:
    for file, text in (("bad.json", '{"ports": {"htpp": 1}}'), ("bad.hcl", "ports { htpp = 1 }")):
        path = tmp_path / file
        path.write_text(text)
        done = subprocess.run(
            [str(LICTOR), "agent", "-dev", f"-config-file={path}"],
            capture_output=True,
            text=True,
            timeout=20,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == 1
        assert str(path) in printed
        assert "invalid config key ports.htpp" in printed


def test_a_server_that_is_told_to_stop_says_so_by_its_status(fresh: Cluster) -> None:
    server = fresh.servers(1)[0]
    server.signal(signal.SIGTERM)
    assert server.wait() == 1


def test_reload_takes_over_new_services(fresh: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "services.json"
    path.write_text('{"services": [{"name": "one", "port": 1}]}')
    agent = fresh.add("s1", "-server", "-bootstrap-expect=1", f"-config-file={path}").ready()
    eventually(lambda: agent.dns("one.service.consul"), within_s=5)
    path.write_text('{"services": [{"name": "two", "port": 2}]}')
    agent.signal(signal.SIGHUP)
    eventually(lambda: agent.dns("two.service.consul"), within_s=5)
    eventually(lambda: agent.dns("one.service.consul") == [], within_s=5)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("PUT", "/v1/agent/service/register", b"{nonsense", 400, "Request decode failed: "),
        ("PUT", "/v1/agent/service/register", b'{"Port": "80"}', 400, "cannot unmarshal string"),
        ("PUT", "/v1/agent/service/register", b'{"Bogus": 1}', 400, 'unknown field "Bogus"'),
        ("PUT", "/v1/agent/check/register", b"[1, 2", 400, "Request decode failed: "),
        ("PUT", "/v1/catalog/register", b"", 400, "Request decode failed: EOF"),
        ("PUT", "/v1/catalog/register", b'{"Node": 7}', 400, "cannot unmarshal number"),
        ("PUT", "/v1/agent/service/register", b'{"Name": "' + b"x" * 70_000_000, 413, "too large"),
        ("PUT", "/v1/kv/big", b"x" * 600_000, 413, "Request body(600000 bytes) too large"),
        ("PUT", "/v1/agent/force-leave/nobody", None, 500, "No node found with name 'nobody'"),
        ("GET", "/v1/health/service/web?index=abc", None, 400, "Invalid index"),
        ("GET", "/v1/catalog/nodes?dc=mars", None, 500, "No path to datacenter"),
        ("POST", "/v1/kv/a", b"", 405, "method POST not allowed"),
        ("GET", "/v1/nope", None, 404, ""),
    ],
)
def test_bad_requests_get_the_words_of_the_contract(
    dev: AgentProcess, method: str, path: str, body: bytes | None, status: int, text: str
) -> None:
    answer = dev.request(method, path, body)
    assert answer.status == status
    assert text in answer.body.decode()


def counters(agent: AgentProcess) -> dict[str, float]:
    """All metrics of an agent by name and labels."""
    text = agent.get("/v1/agent/metrics?format=prometheus").body.decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def throw(address: str, port: int, data: bytes) -> None:
    """Send the same bytes to both protocols of a port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
        tcp.settimeout(2)
        tcp.connect((address, port))
        tcp.sendall(data)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(data, (address, port))


def test_garbage_on_every_port_is_dropped_and_the_agent_stays(dev: AgentProcess) -> None:
    rng = random.Random(7)
    for port in (8500, 8600, 8301, 8300):
        for size in (1, 3, 40, 3000):
            for data in (rng.randbytes(size), b"\x00" * size, b"\xff" * size):
                throw(dev.address, port, data)
    assert dev.leader()
    assert dev.dns("dev.node.consul") == [dev.address]
    dev.put("/v1/kv/after", b"garbage")
    assert dev.process is not None
    assert dev.process.poll() is None


def test_garbage_is_counted_where_it_was_dropped(fresh: Cluster) -> None:
    kept = 'telemetry { prometheus_retention_time = "1m" }'
    agent = fresh.add("dev", "-dev", "-hcl", kept).ready()
    before = counters(agent)
    for port in (8500, 8600, 8301, 8300):
        for data in (b"\xff" * 40, b"R" + b"\xff" * 100, b"L" + b"\xff" * 100):
            throw(agent.address, port, data)

    def grown(start: str) -> bool:
        now = counters(agent)
        return any(now[n] > before.get(n, 0) for n in now if n.startswith(start))

    for start in (
        "lictor_http_malformed_total",
        "lictor_dns_resolver_dropped_total",
        "lictor_dns_tcp_truncated_total",
        "lictor_gossip_dropped_total",
        "lictor_gossip_stream_errors_total",
        "lictor_rpc_refused_total",
        "lictor_raft_dropped_total",
    ):
        eventually(lambda start=start: grown(start), within_s=5, what=start)


def test_flags_are_read_in_every_spelling(fresh: Cluster, tmp_path: Path) -> None:
    pid_file, key = tmp_path / "pid", "cg8StVXbQJ0gPvMd9o7yrg=="
    agent = fresh.add(
        "s1", "--server", "--bootstrap-expect", "1", "-datacenter", "dc9", "--log-level=warn",
        "-encrypt", key, "--pid-file", str(pid_file), "-http-port=8501", "--dns-port", "8601",
        "-serf-lan-port=8311", "--server-port", "8310",
    )  # fmt: skip
    there = {"CONSUL_HTTP_ADDR": f"{agent.address}:8501"}

    def members() -> str:
        done = subprocess.run(
            [str(LICTOR), "members"], env=there, capture_output=True, text=True, timeout=20
        )
        return done.stdout

    line = eventually(members, within_s=20).splitlines()[1].split()
    assert line[:4] == ["s1", f"{agent.address}:8311", "alive", "server"]
    assert line[6] == "dc9"
    assert agent.process is not None
    assert int(pid_file.read_text()) == agent.process.pid
    for port in (8310, 8501, 8601):
        socket.create_connection((agent.address, port), timeout=5).close()
    assert "Gossip: true" in agent.log
    assert "[INFO]" not in agent.log
    agent.signal(signal.SIGTERM)
    agent.wait()
    assert not pid_file.exists()


@pytest.mark.parametrize("dashes", ["-", "--"])
def test_the_agent_says_its_version(dashes: str) -> None:
    done = subprocess.run(
        [str(LICTOR), "agent", f"{dashes}version"], capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stdout.split()[0]) == (0, "Lictor")


def test_metrics_are_there_from_the_start(fresh: Cluster) -> None:
    kept = 'telemetry { prometheus_retention_time = "1m" }'
    agent = fresh.add("s1", "-server", "-bootstrap-expect=1", "-hcl", kept).ready()
    text = agent.get("/v1/agent/metrics?format=prometheus").body.decode()
    for name in ("lictor_gossip_", "lictor_raft_", "lictor_dns_", "lictor_rpc_", "lictor_local_"):
        assert name in text


def test_an_agent_runs_without_its_http_api(fresh: Cluster) -> None:
    agent = fresh.add("s1", "-server", "-bootstrap", "-http-port=-1")
    eventually(lambda: "Consul agent running!" in agent.log, within_s=20, what="it runs")
    eventually(
        lambda: agent.dns("consul.service.consul") == [agent.address],
        within_s=20,
        what="DNS answers",
    )
