"""An ingress gateway on real agents: from a client outside through the mesh to a service."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import LICTOR, AgentProcess, Cluster
from tests.e2e.test_mesh import call, echo_server
from tests.e2e.test_mesh_http import app
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(240)]

HTTP_PORT, TCP_PORT, TLS_PORT, STAR_PORT = 18080, 18081, 18443, 18444


@contextlib.contextmanager
def gateway(agent: AgentProcess) -> Iterator[None]:
    process = subprocess.Popen(
        [
            str(LICTOR),
            "connect",
            "proxy",
            "-gateway=ingress",
            "-service=door",
            "-admin-bind=off",
            f"-bind-address={agent.address}",
        ],
        env=os.environ | {"CONSUL_HTTP_ADDR": f"{agent.address}:8500"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def ask(address: str, host: str) -> int:
    connection = http.client.HTTPConnection(address, HTTP_PORT, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()


def test_who_is_outside_comes_in_through_the_door_as_far_as_it_is_let(fresh: Cluster) -> None:
    agent = fresh.servers(1)[0]
    with app(agent.address, "one") as api, echo_server("127.0.0.1") as echo:
        agent.put("/v1/config", {"Kind": "service-defaults", "Name": "api", "Protocol": "http"})
        proxy = {"LocalServiceAddress": agent.address}
        for name, port, more in (("api", api.port, {"Proxy": proxy}), ("db", echo, {})):
            agent.put(
                "/v1/agent/service/register",
                {"Name": name, "Port": port, "Connect": {"SidecarService": more}},
            )
        agent.put("/v1/agent/service/register", {"Name": "door", "Kind": "ingress-gateway"})
        listeners = [
            {"Port": HTTP_PORT, "Protocol": "http",
             "Services": [{"Name": "api", "Hosts": ["api.example"]}]},
            {"Port": TCP_PORT, "Protocol": "tcp", "Services": [{"Name": "db"}]},
        ]  # fmt: skip
        entry = {"Kind": "ingress-gateway", "Name": "door", "Listeners": listeners}
        agent.put("/v1/config", entry)
        with gateway(agent):
            eventually(
                lambda: ask(agent.address, "api.example") == 200, within_s=60, what="a request"
            )
            assert ask(agent.address, "other.example") == 404
            eventually(
                lambda: call((agent.address, TCP_PORT)) == b"hello", within_s=60, what="bytes"
            )
            rule = {"Kind": "service-intentions", "Name": "api",
                    "Sources": [{"Name": "door", "Action": "deny"}]}  # fmt: skip
            agent.put("/v1/config", rule)
            eventually(
                lambda: ask(agent.address, "api.example") == 403, within_s=10, what="it is denied"
            )
            # A listener that is taken away is closed, one that is new is opened.
            agent.put("/v1/config", {**entry, "Listeners": listeners[1:]})

            def closed() -> bool:
                try:
                    ask(agent.address, "api.example")
                except ConnectionRefusedError:
                    return True
                return False

            eventually(closed, within_s=20, what="the door is closed")
            assert call((agent.address, TCP_PORT)) == b"hello"


def secured(agent: AgentProcess, port: int, host: str, context: ssl.SSLContext) -> tuple[str, int]:
    """The version of TLS and the status of one request to a host, whose name is checked."""
    raw = socket.create_connection((agent.address, port), 10)
    with context.wrap_socket(raw, server_hostname=host) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return sock.version() or "", int(sock.recv(64).split()[1])


def test_clients_outside_check_the_door_as_they_check_any_server(
    fresh: Cluster, tmp_path: Path
) -> None:
    agent = fresh.servers(1)[0]
    with app(agent.address, "one") as api:
        agent.put("/v1/config", {"Kind": "service-defaults", "Name": "api", "Protocol": "http"})
        more = {"Proxy": {"LocalServiceAddress": agent.address}}
        agent.put(
            "/v1/agent/service/register",
            {"Name": "api", "Port": api.port, "Connect": {"SidecarService": more}},
        )
        agent.put("/v1/agent/service/register", {"Name": "door", "Kind": "ingress-gateway"})
        listeners = [
            {"Port": TLS_PORT, "Protocol": "http",
             "TLS": {"Enabled": True, "TLSMinVersion": "TLSv1_3"},
             "Services": [{"Name": "api", "Hosts": ["shop.example"]}]},
            {"Port": STAR_PORT, "Protocol": "http", "Services": [{"Name": "*"}]},
        ]  # fmt: skip
        entry = {"Kind": "ingress-gateway", "Name": "door", "TLS": {"Enabled": True}}
        agent.put("/v1/config", {**entry, "Listeners": listeners})
        roots = agent.get("/v1/connect/ca/roots").json["Roots"]
        pem = tmp_path / "roots.pem"
        pem.write_text("".join(root["RootCert"] for root in roots))
        context = ssl.create_default_context(cafile=str(pem))
        with gateway(agent):

            def asked(port: int, host: str, with_: ssl.SSLContext = context) -> tuple[str, int]:
                try:
                    return secured(agent, port, host, with_)
                except (OSError, ValueError, IndexError) as error:
                    return type(error).__name__, 0

            eventually(
                lambda: asked(TLS_PORT, "shop.example") == ("TLSv1.3", 200),
                within_s=90, what="a request over TLS",
            )  # fmt: skip
            eventually(
                lambda: asked(STAR_PORT, "api.ingress.consul")[1] == 200,
                within_s=30, what="every service by its name",
            )  # fmt: skip
            assert asked(STAR_PORT, "none.ingress.consul")[1] == 404
            old = ssl.create_default_context(cafile=str(pem))
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            assert asked(TLS_PORT, "shop.example", old)[1] == 0, "below its lowest version"
            assert asked(STAR_PORT, "api.ingress.consul", old) == ("TLSv1.2", 200)
            name, status = asked(TLS_PORT, "other.example")
            assert (name, status) == ("SSLCertVerificationError", 0), "it is nobody else"
            stranger = ssl.create_default_context()
            assert asked(TLS_PORT, "shop.example", stranger)[0] == "SSLCertVerificationError"
            with (
                socket.create_connection((agent.address, TLS_PORT), 10) as clear,
                contextlib.suppress(ConnectionError),
            ):
                clear.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
                assert not clear.recv(64).startswith(b"HTTP/1.1 "), "nothing goes in clear"
            if shutil.which("curl"):
                address = f"shop.example:{TLS_PORT}:{agent.address}"
                url = f"https://shop.example:{TLS_PORT}/"
                done = subprocess.run(
                    ["curl", "-sf", "--cacert", str(pem), "--resolve", address, url],
                    capture_output=True, timeout=30,
                )  # fmt: skip
                assert done.returncode == 0 and b'"version": "one"' in done.stdout
