"""Journeys C and D: sidecars, identities and intentions, on the bytes of real connections."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.cluster import AgentProcess, Cluster, cluster, resident_mb
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.calm, pytest.mark.timeout(120)]


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets."""

    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


@contextlib.contextmanager
def echo_server(address: str) -> Iterator[int]:
    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server((address, 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def call(address: tuple[str, int], data: bytes = b"hello") -> bytes:
    """One exchange on a fresh connection; b"" when the other side closes."""
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(data)
        received = b""
        while len(received) < len(data):
            chunk = connection.recv(65536)
            if not chunk:
                break
            received += chunk
        return received


def refused(address: tuple[str, int]) -> bool:
    try:
        return call(address) == b""
    except OSError:
        return True


def register_pair(web: AgentProcess, db: AgentProcess, app_port: int) -> tuple[str, int]:
    """Service db behind its sidecar, and web with an upstream to it. Gives web's local port."""
    db.put(
        "/v1/agent/service/register",
        {"Name": "db", "Port": app_port, "Connect": {"SidecarService": {}}},
    )
    local = (web.address, 15432)
    upstream = {
        "DestinationName": "db",
        "LocalBindAddress": local[0],
        "LocalBindPort": local[1],
    }
    web.put(
        "/v1/agent/service/register",
        {
            "Name": "web",
            "Port": 1,
            "Connect": {"SidecarService": {"Proxy": {"Upstreams": [upstream]}}},
        },
    )
    return local


def test_a_sidecar_is_found_as_soon_as_it_listens(fresh: Cluster) -> None:
    server = fresh.servers(1)[0]
    web, db = fresh.add("web-host").ready(), fresh.add("db-host").ready()
    with echo_server("127.0.0.1") as app_port:
        port = register_pair(web, db, app_port)
        name = "/v1/health/service/db-sidecar-proxy?passing"
        listener = (db.address, db.get("/v1/agent/service/db-sidecar-proxy").json["Port"])

        def listens() -> bool:
            socket.create_connection(listener, timeout=1).close()
            return True

        eventually(listens, within_s=20, what="the sidecar of db listens")
        began = time.monotonic()
        eventually(lambda: server.get(name).json, within_s=5, what="the sidecar of db is found")
        found_s = time.monotonic() - began
        assert found_s < 1.5, f"found {found_s:.2f} s after it listened"
        eventually(lambda: call(port) == b"hello", within_s=5, what="a call through both sidecars")
        for agent in (web, db):  # there is one beside every service (docs/adr/0097)
            assert resident_mb(sidecar(agent)) < 42


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[AgentProcess, AgentProcess, tuple[str, int]]]:
    """Two client agents with a sidecar each, and where web reaches db; the last test ends web."""
    with (
        cluster(tmp_path_factory.mktemp("pair")) as made,
        echo_server("127.0.0.1") as app_port,
    ):
        made.servers(1)
        web, db = made.add("web-host").ready(), made.add("db-host").ready()
        port = register_pair(web, db, app_port)
        eventually(lambda: call(port) == b"hello", within_s=20, what="a call through both sidecars")
        yield web, db, port


def test_a_denied_intention_refuses_new_connections_and_cuts_open_ones(
    pair: tuple[AgentProcess, AgentProcess, tuple[str, int]],
) -> None:
    web, _, port = pair
    with socket.create_connection(port, timeout=5) as held:
        held.sendall(b"first")
        assert held.recv(100) == b"first"
        planned = web.cli("intention", "plan", "-deny", "-live", "web", "db")
        assert ["web", "db", "db-host", "1", "0"] in [line.split() for line in planned.splitlines()]
        assert "3 of 3 agents told of their sidecars" in planned
        learned = web.cli("intention", "learn", "-commands")
        assert learned.splitlines()[0] == "lictor intention create -allow web db"
        web.cli("intention", "create", "-deny", "web", "db")
        denied = time.monotonic()
        eventually(lambda: refused(port), within_s=1, what="new connections refused")
        held.settimeout(1)
        with contextlib.suppress(ConnectionResetError):
            assert held.recv(100) == b"", "the open connection was cut"
        assert time.monotonic() - denied < 1
    assert web.cli("intention", "check", "web", "db", expect=1) == "Denied\n"
    explained = web.cli("explain", "intention", "web", "db")
    assert "DENY" in explained or "deny" in explained
    web.cli("intention", "create", "-allow", "-replace", "web", "db")
    eventually(lambda: call(port) == b"hello", within_s=2, what="allowed again")


def test_a_revoked_certificate_is_cut_everywhere_and_replaced_on_its_host(
    pair: tuple[AgentProcess, AgentProcess, tuple[str, int]],
) -> None:
    web, db, port = pair
    leaf = "/v1/agent/connect/ca/leaf/web"
    before = web.get(leaf).json["SerialNumber"]
    with socket.create_connection(port, timeout=5) as held:
        held.sendall(b"first")
        assert held.recv(100) == b"first"
        # A moment later than the leaf was made, to the second that certificates count in.
        eventually(lambda: _age_s(web, leaf) > 1.5, within_s=5, what="the leaf is of the past")
        said = db.cli("connect", "ca", "revoke", "-service", "web", "-reason", "key was lost")
        revoked = time.monotonic()
        assert said.startswith("Revoked: spiffe://")
        held.settimeout(2)
        with contextlib.suppress(ConnectionResetError):
            assert held.recv(100) == b"", "the open connection was cut"
        assert time.monotonic() - revoked < 1
    # Who does mTLS by itself and asks is told so too, by the number of the old certificate.
    native = {
        "Target": "db",
        "ClientCertSerial": before,
        "ClientCertURI": web.get(leaf).json["ServiceURI"],
    }
    told = db.request("POST", "/v1/agent/connect/authorize", native).json
    assert (told["Authorized"], "issued so far" in told["Reason"]) == (False, True)
    renewed = eventually(
        lambda: (new := web.get(leaf).json["SerialNumber"]) != before and new,
        within_s=10,
        what="web has another certificate",
    )
    eventually(lambda: call(port) == b"hello", within_s=10, what="the new one counts")
    assert "key was lost" in db.cli("connect", "ca", "revocations")
    explained = web.cli("explain", "certificate", "web")
    assert "Denied: true" in explained
    assert "key was lost" in explained
    # One certificate by its number; the native way to ask knows of it too.
    db.cli("connect", "ca", "revoke", "-serial", renewed)
    asked = {
        "Target": "db",
        "ClientCertSerial": renewed,
        "ClientCertURI": web.get(leaf).json["ServiceURI"],
    }
    answer = db.request("POST", "/v1/agent/connect/authorize", asked).json
    assert (answer["Authorized"], "was revoked" in answer["Reason"]) == (False, True)
    eventually(lambda: call(port) == b"hello", within_s=10, what="replaced again")
    db.cli("connect", "ca", "unrevoke", renewed)
    assert renewed not in db.cli("connect", "ca", "revocations")
    assert db.request("POST", "/v1/agent/connect/authorize", asked).json["Authorized"]


def _age_s(agent: AgentProcess, path: str) -> float:
    began = datetime.fromisoformat(agent.get(path).json["ValidAfter"])
    return (datetime.now(UTC) - began).total_seconds() - 60.0


def openssl(folder: Path, *args: str) -> None:
    subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True, timeout=30)


def test_a_root_whose_key_stays_outside_takes_over_under_an_open_connection(
    pair: tuple[AgentProcess, AgentProcess, tuple[str, int]], tmp_path: Path
) -> None:
    """As docs/operate/authority.md tells it, with the keeper's own OpenSSL."""
    web, db, port = pair
    (tmp_path / "ca.json").write_text('{"Provider": "consul", "Config": {"ExternalSigner": true}}')
    (tmp_path / "mesh.csr").write_text("")
    web.cli("connect", "ca", "csr", expect=1)
    with socket.create_connection(port, timeout=5) as held:
        web.cli("connect", "ca", "set-config", f"-config-file={tmp_path / 'ca.json'}")
        (tmp_path / "mesh.csr").write_text(web.cli("connect", "ca", "csr"))
        openssl(
            tmp_path, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", "/CN=Keeper", "-days", "3650", "-keyout", "root.key", "-out",
            "root.crt",
        )  # fmt: skip
        openssl(
            tmp_path, "x509", "-req", "-in", "mesh.csr", "-CA", "root.crt", "-CAkey", "root.key",
            "-days", "365", "-copy_extensions", "copyall", "-out", "mesh.crt",
        )  # fmt: skip
        files = [str(tmp_path / name) for name in ("mesh.crt", "root.crt")]
        db.cli("connect", "ca", "set-intermediate", files[0], expect=1)
        assert "Signing below root" in db.cli("connect", "ca", "set-intermediate", *files)
        for agent, name in ((web, "web"), (db, "db")):
            renewed = agent.put(f"/v1/agent/connect/ca/leaf/{name}/renew").json["CertPEM"]
            (tmp_path / "leaf.pem").write_text(renewed)
            (tmp_path / "above.pem").write_text(renewed[renewed.index("-----END") + 26 :])
            openssl(
                tmp_path, "verify", "-CAfile", "root.crt", "-untrusted", "above.pem", "leaf.pem"
            )
        # A leaf that is asked for by hand waits for nobody who has yet to hear of the root.
        eventually(
            lambda: call(port) == b"hello", within_s=20, what="new connections by the new leaves"
        )
        held.sendall(b"still")
        assert held.recv(100) == b"still"


def test_large_streams_pass_unharmed(
    pair: tuple[AgentProcess, AgentProcess, tuple[str, int]],
) -> None:
    _, _, port = pair
    data = bytes(range(256)) * 8192
    with socket.create_connection(port, timeout=10) as connection:
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        received = bytearray()
        while len(received) < len(data):
            chunk = connection.recv(1 << 16)
            assert chunk
            received += chunk
        sender.join(10)
    assert bytes(received) == data


def sidecar(agent: AgentProcess) -> int:
    """The process of the only sidecar of an agent."""
    assert agent.process is not None
    pid = agent.process.pid
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def test_a_killed_sidecar_comes_back(
    pair: tuple[AgentProcess, AgentProcess, tuple[str, int]],
) -> None:
    _, db, port = pair
    os.kill(sidecar(db), signal.SIGKILL)
    eventually(lambda: call(port) == b"hello", within_s=15, what="the sidecar again")


def test_sidecars_end_with_their_service(
    pair: tuple[AgentProcess, AgentProcess, tuple[str, int]],
) -> None:
    web, _, port = pair
    web.put("/v1/agent/service/deregister/web")

    def gone() -> bool:
        try:
            socket.create_connection(port, timeout=1).close()
        except OSError:
            return True
        return False

    eventually(gone, within_s=45, what="no listener is left")
