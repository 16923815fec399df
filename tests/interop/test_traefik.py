"""Traefik's consulCatalog provider routes to what is registered here, and follows it."""

from __future__ import annotations

import contextlib
import http.server
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import AgentProcess, fresh_address
from tests.interop.clients import program
from tests.interop.test_monitoring import SEEN_S, running
from tests.ports import free_port
from tests.waiting import eventually

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        program("traefik") is None, reason="traefik is not in .interop (make interop-clients)"
    ),
]


@contextlib.contextmanager
def backend(address: str, name: str) -> Iterator[int]:
    """A web server that says its name; gives its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(name.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer((address, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def register(agent: AgentProcess, name: str, port: int) -> None:
    agent.put(
        "/v1/agent/service/register",
        {"Name": "shop", "ID": f"shop-{name}", "Address": agent.address, "Port": port,
         "Tags": ["traefik.enable=true", "traefik.http.routers.shop.rule=Host(`shop.test`)"],
         "Check": {"CheckID": f"shop-{name}", "TTL": "1h", "Status": "passing"}},
    )  # fmt: skip


def test_traefik_follows_instances_and_their_health(
    open_agent: AgentProcess, tmp_path: Path
) -> None:
    listen = f"{fresh_address()}:{free_port()}"
    command = (
        str(program("traefik")), f"--entryPoints.web.address={listen}",
        "--providers.consulCatalog.exposedByDefault=false",
        "--providers.consulCatalog.refreshInterval=500ms",
        f"--providers.consulCatalog.endpoint.address={open_agent.address}:8500",
        "--global.checkNewVersion=false", "--global.sendAnonymousUsage=false",
    )  # fmt: skip

    def answers() -> set[str]:
        """Who answers in a few requests."""
        found = set()
        for _ in range(6):
            ask = urllib.request.Request(f"http://{listen}/", headers={"Host": "shop.test"})
            try:
                with urllib.request.urlopen(ask, timeout=5) as answer:
                    found.add(answer.read().decode())
            except urllib.error.HTTPError as error:
                with error:
                    found.add(str(error.code))
        return found

    def come_to(expected: set[str]) -> None:
        eventually(lambda: answers() == expected, within_s=SEEN_S, what=f"{expected} answer")

    with (
        backend(open_agent.address, "a") as first,
        backend(open_agent.address, "b") as second,
        running(tmp_path, *command),
    ):
        register(open_agent, "a", first)
        come_to({"a"})
        register(open_agent, "b", second)
        come_to({"a", "b"})
        open_agent.put("/v1/agent/check/fail/shop-a")
        come_to({"b"})
        open_agent.put("/v1/agent/check/pass/shop-a")
        come_to({"a", "b"})
        for name in ("a", "b"):
            open_agent.put(f"/v1/agent/service/deregister/shop-{name}")
        come_to({"404"})
