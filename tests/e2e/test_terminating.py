"""A terminating gateway on real agents: a member of the mesh reaches a TLS server outside of it."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.certificates import TestCA
from tests.e2e.cluster import LICTOR, AgentProcess, Cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(240)]

LOCAL_PORT, GATE_PORT = 15090, 18443


@contextlib.contextmanager
def bank(ca: TestCA, seen: list[str], says: bytes = b"money") -> Iterator[int]:
    """An HTTPS server that is in no mesh: it wants a certificate of its own authority."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            seen.append(f"{self.path} {self.headers['Host']}")
            self.send_response(200)
            self.send_header("Content-Length", str(len(says)))
            self.end_headers()
            self.wfile.write(says)

        def log_message(self, *_: object) -> None:
            pass

    issued = ca.issue("bank", dns=("bank.example",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.cert, issued.key)
    context.load_verify_locations(ca.file)
    context.verify_mode = ssl.CERT_REQUIRED
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@contextlib.contextmanager
def gateway(agent: AgentProcess) -> Iterator[None]:
    process = subprocess.Popen(
        [
            str(LICTOR), "connect", "proxy", "-gateway=terminating", "-service=gate",
            "-admin-bind=off", f"-bind-address={agent.address}",
        ],
        env=os.environ | {"CONSUL_HTTP_ADDR": f"{agent.address}:8500"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def _subsets_are_told_apart(
    server: AgentProcess, port: int, answer: Callable[..., tuple[int, bytes]]
) -> None:
    _subsets(server, port)
    second = {"Want": "2"}
    eventually(lambda: answer("/", **second) == (200, b"coins"), within_s=30, what="the second")
    for _ in range(5):
        assert answer("/") == (200, b"money")
        assert answer("/", **second) == (200, b"coins")
    assert answer("/vault", **second)[0] == 403  # the service's rules hold for each part
    for kind in ("service-router", "service-resolver"):
        server.request("DELETE", f"/v1/config/{kind}/bank")


def _subsets(server: AgentProcess, port: int) -> None:
    """A second instance of the bank, and who asks for it by a header."""
    server.put(
        "/v1/catalog/register",
        {"Node": "outside", "Address": "127.0.0.1", "Service": {
            "Service": "bank", "ID": "bank2", "Port": port, "Address": "localhost",
            "Meta": {"version": "2"}}},
    )  # fmt: skip
    subsets = {"v1": {"Filter": "Service.Meta.version != 2"},
               "v2": {"Filter": "Service.Meta.version == 2"}}  # fmt: skip
    server.put(
        "/v1/config",
        {"Kind": "service-resolver", "Name": "bank", "DefaultSubset": "v1", "Subsets": subsets},
    )
    wanted = {"HTTP": {"Header": [{"Name": "want", "Exact": "2"}]}}
    server.put(
        "/v1/config",
        {"Kind": "service-router", "Name": "bank", "Routes": [
            {"Match": wanted, "Destination": {"ServiceSubset": "v2"}}]},
    )  # fmt: skip


def test_members_reach_a_service_outside_as_far_as_it_lets_them(
    fresh: Cluster, tmp_path: Path
) -> None:
    server = fresh.servers(1)[0]
    web, edge = fresh.add("web-host").ready(), fresh.add("edge-host").ready()
    ca, seen = TestCA(tmp_path), []  # type: ignore[var-annotated]
    client = ca.issue("gate")
    with bank(ca, seen) as port, bank(ca, [], b"coins") as second_port:
        server.put("/v1/config", {"Kind": "service-defaults", "Name": "bank", "Protocol": "http"})
        server.put(
            "/v1/catalog/register",
            {"Node": "outside", "Address": "127.0.0.1", "Service": {
                "Service": "bank", "Port": port, "Address": "localhost"}},
        )  # fmt: skip
        edge.put(
            "/v1/agent/service/register",
            {"Name": "gate", "Kind": "terminating-gateway", "Port": GATE_PORT},
        )
        linked = {"Name": "bank", "CAFile": str(ca.file), "CertFile": str(client.cert),
                  "KeyFile": str(client.key), "SNI": "bank.example"}  # fmt: skip
        server.put(
            "/v1/config", {"Kind": "terminating-gateway", "Name": "gate", "Services": [linked]}
        )
        upstream = {"DestinationName": "bank", "LocalBindPort": LOCAL_PORT,
                    "LocalBindAddress": web.address}  # fmt: skip
        web.put(
            "/v1/agent/service/register",
            {"Name": "web", "Port": 1,
             "Connect": {"SidecarService": {"Proxy": {"Upstreams": [upstream]}}}},
        )  # fmt: skip

        def answer(path: str, **headers: str) -> tuple[int, bytes]:
            connection = http.client.HTTPConnection(web.address, LOCAL_PORT, timeout=10)
            try:
                connection.request("GET", path, headers={"Host": "whatever", **headers})
                response = connection.getresponse()
                return response.status, response.read()
            finally:
                connection.close()

        def ask(path: str = "/account") -> int:
            return answer(path)[0]

        with gateway(edge):
            eventually(lambda: ask() == 200, within_s=60, what="a request to the bank")
            assert seen[-1] == "/account localhost"  # the host is the service's own
            rule = {"Kind": "service-intentions", "Name": "bank", "Sources": [
                {"Name": "web", "Permissions": [
                    {"Action": "deny", "HTTP": {"PathPrefix": "/vault"}},
                    {"Action": "allow", "HTTP": {"PathPrefix": "/"}}]}]}  # fmt: skip
            server.put("/v1/config", rule)
            eventually(lambda: ask("/vault") == 403, within_s=10, what="the vault is closed")
            assert ask() == 200
            _subsets_are_told_apart(server, second_port, answer)
            # By address, without an instance in the catalog.
            server.put("/v1/catalog/deregister", {"Node": "outside"})
            eventually(lambda: ask() == 503, within_s=20, what="nobody is there")
            where = {"Addresses": ["127.0.0.1"], "Port": port}
            server.put(
                "/v1/config",
                {"Kind": "service-defaults", "Name": "bank", "Protocol": "http",
                 "Destination": where},
            )  # fmt: skip
            eventually(lambda: ask() == 200, within_s=20, what="it is found by its address")
            # Another name than its certificate's: nothing is sent.
            wrong = {**linked, "SNI": "other.example"}
            server.put(
                "/v1/config", {"Kind": "terminating-gateway", "Name": "gate", "Services": [wrong]}
            )
            eventually(lambda: ask() == 503, within_s=20, what="a wrong name is refused")
