"""An ingress gateway on real agents: from a client outside through the mesh to a service."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import LICTOR, AgentProcess, Cluster
from tests.e2e.test_mesh import call, echo_server
from tests.e2e.test_mesh_http import app
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(240)]

HTTP_PORT, TCP_PORT = 18080, 18081


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
