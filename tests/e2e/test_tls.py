"""Agents with certificates: they come up, plain is refused, certificates are replaced live."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent.backend.rpc.frames import PROTOCOL_VERSION, Hello, encode
from tests.certificates import Issued, TestCA
from tests.e2e.cluster import LICTOR, AgentProcess, Cluster, resident_mb
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


def settings(folder: Path, name: str, ca: TestCA, issued: Issued) -> str:
    """A file that demands TLS with these certificates."""
    path = folder / f"{name}.json"
    internal = {
        "ca_file": str(ca.file),
        "cert_file": str(issued.cert),
        "key_file": str(issued.key),
        "verify_incoming": True,
        "verify_server_hostname": True,
    }
    telemetry = {"prometheus_retention_time": "1m"}
    path.write_text(json.dumps({"tls": {"internal_rpc": internal}, "telemetry": telemetry}))
    return f"-config-file={path}"


def serial_of(agent: AgentProcess, ca: TestCA, ours: Issued) -> str:
    """The serial number of the certificate that an agent's server port shows."""
    context = ssl.create_default_context(cafile=str(ca.file))
    context.load_cert_chain(ours.cert, ours.key)
    with (
        socket.create_connection((agent.address, 8300), 5) as plain,
        context.wrap_socket(plain, server_hostname="server.dc1.consul") as secure,
    ):
        shown = secure.getpeercert()
        assert shown is not None
        return str(shown["serialNumber"])


def test_a_cluster_over_tls(fresh: Cluster, tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    flags = {name: settings(tmp_path, name, ca, ca.server(name)) for name in ("s1", "s2", "s3")}
    servers = [
        fresh.add(name, "-server", "-bootstrap-expect=3", flag) for name, flag in flags.items()
    ]
    ours = ca.client("c1")
    client = fresh.add("c1", settings(tmp_path, "c1", ca, ours)).ready()
    client.put("/v1/agent/service/register", {"Name": "web", "Port": 80})
    for server in servers:
        server.ready()
        eventually(lambda s=server: s.get("/v1/catalog/service/web").json, within_s=10)
    client.put("/v1/kv/a", b"x")

    # Plain is refused, by the port and in numbers.
    with socket.create_connection((servers[0].address, 8300), 5) as plain:
        plain.sendall(b"R" + bytes(64))
        plain.settimeout(5)
        try:
            assert plain.recv(64) == b""
        except ConnectionResetError:
            pass
    plain_agent = fresh.add("c2")
    eventually(lambda: "plain connection" in metrics(fresh), within_s=15)
    refused = eventually(lambda: plain_agent.get("/v1/catalog/nodes"), within_s=15)
    assert refused.status == 500, refused

    harass(fresh, ca, ours)

    # A certificate is replaced while the cluster works.
    before = serial_of(servers[0], ca, ours)
    renewed = ca.server("s1-renewed")
    settings(tmp_path, "s1", ca, renewed)
    servers[0].signal(signal.SIGHUP)
    eventually(lambda: serial_of(servers[0], ca, ours) != before, within_s=10)
    client.put("/v1/kv/b", b"y")
    assert servers[0].get("/v1/kv/a?raw").body == b"x"


def harass(cluster: Cluster, ca: TestCA, ours: Issued) -> None:
    """The holder of a client's certificate plays server, and floods the leader with frames."""
    leader = cluster.by_leader()
    before, memory = term(leader), resident_mb(pid(leader))
    context = ssl.create_default_context(cafile=str(ca.file))
    context.load_cert_chain(ours.cert, ours.key)

    def dial() -> ssl.SSLSocket:
        plain = socket.create_connection((leader.address, 8300), 5)
        return context.wrap_socket(plain, server_hostname="server.dc1.consul")

    with dial() as secure:
        secure.sendall(b"R" + bytes(64))
        with contextlib.suppress(OSError):
            assert secure.recv(64) == b""
    held = [dial() for _ in range(20)]
    greeting = encode(Hello(PROTOCOL_VERSION, "dc1", "evil"))
    for each in held:
        with contextlib.suppress(OSError):
            each.sendall(b"L" + greeting + struct.pack(">I", 8 << 20) + bytes((8 << 20) - 1))
    told = eventually(lambda: refusals(leader)["client holds too many bytes"], within_s=10)
    assert refusals(leader)["certificate of a client"]["Certificate"].startswith("client.dc1")
    assert told["By"] == "port"
    leader.put("/v1/kv/flooded", b"x")
    assert resident_mb(pid(leader)) < memory + 160  # 160 MB were sent, 64 MiB are the most
    for each in held:
        each.close()
    assert (cluster.by_leader(), term(leader)) == (leader, before)


def pid(agent: AgentProcess) -> int:
    assert agent.process is not None
    return agent.process.pid


def term(agent: AgentProcess) -> str:
    text = agent.get("/v1/agent/metrics?format=prometheus").body.decode()
    (line,) = [line for line in text.splitlines() if line.startswith("lictor_raft_term ")]
    return line


def refusals(agent: AgentProcess) -> dict[str, Any]:
    """The last ones by reason, as they are explained."""
    return {each["Reason"]: each for each in agent.get("/v1/explain/server-port").json["Last"]}


def metrics(cluster: Cluster) -> str:
    """The numbers of all servers."""
    texts = [a.get("/v1/agent/metrics?format=prometheus").body.decode() for a in cluster.agents[:3]]
    return "\n".join(line for text in texts for line in text.splitlines() if "refused" in line)


def test_a_server_does_not_start_with_files_that_do_not_fit(tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    server = ca.server("s")
    server.key.write_bytes(ca.client("c").key.read_bytes())
    done = subprocess.run(
        [str(LICTOR), "agent", "-dev", settings(tmp_path, "s", ca, server)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert f"tls.internal_rpc.key_file: {server.key}: is not the key of" in done.stderr
