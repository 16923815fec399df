"""Requests through the mesh on real processes: routed, split, authorised, tried again."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.cluster import LICTOR, AgentProcess, Cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

LOCAL_PORT = 15080


@dataclass
class App:
    """An HTTP application that tells what it saw; ``failing`` answers 503 so many times."""

    version: str
    port: int = 0
    failing: int = 0
    seen: list[str] = field(default_factory=list)


@contextlib.contextmanager
def app(address: str, version: str) -> Iterator[App]:
    made = App(version)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        #: Head and body are two writes: the second would wait for the peer's late ACK, 40 ms.
        disable_nagle_algorithm = True

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            made.seen.append(f"{self.command} {self.path}")
            status = 200
            if made.failing > 0:
                made.failing -= 1
                status = 503
            told = {
                "version": version,
                "path": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "size": len(body),
            }
            raw = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(raw)

        do_GET = do_POST = do_PUT = do_HEAD = answer

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

    with Server((address, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        made.port = server.server_address[1]
        try:
            yield made
        finally:
            server.shutdown()


def ask(
    agent: AgentProcess, path: str, method: str = "GET", body: bytes = b"", **headers: str
) -> tuple[int, Any, dict[str, str]]:
    connection = http.client.HTTPConnection(agent.address, LOCAL_PORT, timeout=10)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, named)
        response = connection.getresponse()
        raw = response.read()
        told = json.loads(raw) if raw.startswith(b"{") else raw.decode()
        return response.status, told, {n.lower(): v for n, v in response.getheaders()}
    finally:
        connection.close()


@dataclass
class Mesh:
    web: AgentProcess
    api: AgentProcess
    one: App
    two: App

    def entry(self, body: dict[str, Any]) -> None:
        self.api.put("/v1/config", body)


@pytest.fixture(scope="module")
def mesh(trio: Cluster) -> Iterator[Mesh]:
    """web on one agent, two versions of api on two others, all over HTTP."""
    first, second, web = trio.agents[0], trio.agents[1], trio.agents[3]
    with app(first.address, "v1") as one, app(second.address, "v2") as two:
        for agent, each in ((first, one), (second, two)):
            agent.put("/v1/config", {"Kind": "service-defaults", "Name": "api", "Protocol": "http"})
            agent.put(
                "/v1/agent/service/register",
                {
                    "Name": "api",
                    "ID": f"api-{each.version}",
                    "Port": each.port,
                    "Meta": {"version": each.version},
                    "Connect": {"SidecarService": {
                        "Proxy": {"LocalServiceAddress": agent.address}}},
                },
            )  # fmt: skip
        upstream = {
            "DestinationName": "api",
            "LocalBindPort": LOCAL_PORT,
            "LocalBindAddress": web.address,
        }
        web.put(
            "/v1/agent/service/register",
            {"Name": "web", "Port": 1,
             "Connect": {"SidecarService": {"Proxy": {"Upstreams": [upstream]}}}},
        )  # fmt: skip
        made = Mesh(web, first, one, two)

        def versions() -> set[str]:
            answers = [ask(web, "/") for _ in range(10)]
            return {told["version"] for _, told, _ in answers}

        eventually(
            lambda: works(versions) == {"v1", "v2"}, within_s=30, what="both versions answer"
        )
        yield made


def works(ask_now: Any) -> Any:
    """The answer, or None while there is none."""
    try:
        return ask_now()
    except (OSError, http.client.HTTPException, TypeError):
        return None


def test_requests_reach_the_application_with_who_asked(mesh: Mesh) -> None:
    status, told, _ = ask(mesh.web, "/a/b?x=1", "POST", b"hello", X_Forwarded_Client_Cert="URI=me")
    assert status == 200
    assert told["path"] == "/a/b?x=1"
    assert told["size"] == 5
    client = told["headers"]["x-forwarded-client-cert"]
    assert client.startswith("URI=spiffe://")
    assert client.endswith("/svc/web")
    assert told["headers"]["x-request-id"]


def test_an_operator_looks_at_requests_as_they_pass(mesh: Mesh) -> None:
    looking = subprocess.Popen(
        [
            str(LICTOR),
            "proxy",
            "tap",
            "-count=1",
            "-json",
            f"-http-addr={mesh.web.address}:8500",
            "web",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        while looking.poll() is None:  # until it looks on, which its end tells
            works(lambda: ask(mesh.web, "/looked-at?secret=1"))
            time.sleep(0.1)
        assert looking.stdout is not None
        entry = json.loads(looking.stdout.readline())
        assert looking.returncode == 0
        assert (entry["path"], entry["code"]) == ("/looked-at?secret=<redacted>", 200)
    finally:
        looking.kill()
        looking.communicate()
    assert "knows no proxy nobody" in mesh.web.cli("proxy", "tap", "nobody", expect=1)


def test_a_check_goes_through_the_sidecar_where_an_entry_says_so(mesh: Mesh) -> None:
    check = {
        "ID": "alive", "Name": "alive", "ServiceID": "api-v1", "Interval": "1s",
        "HTTP": f"http://{mesh.api.address}:{mesh.one.port}/alive",
    }  # fmt: skip
    mesh.api.put("/v1/agent/check/register", check)

    def output() -> str:
        found = mesh.api.get("/v1/agent/checks").json["alive"]
        return str(found["Output"]) if found["Status"] == "passing" else ""

    eventually(lambda: f":{mesh.one.port}/alive" in output(), within_s=30, what="it is asked")
    entry = {"Kind": "service-defaults", "Name": "api", "Protocol": "http"}
    mesh.entry(entry | {"Expose": {"Checks": True}})
    eventually(lambda: ":21500/alive" in output(), within_s=30, what="it goes by the sidecar")
    assert mesh.api.get("/v1/health/checks/api").json[-1]["ExposedPort"] == 21500
    mesh.entry(entry)
    eventually(lambda: f":{mesh.one.port}/alive" in output(), within_s=30, what="it is as before")
    mesh.api.put("/v1/agent/check/deregister/alive")


def test_large_bodies_and_head_pass_unchanged(mesh: Mesh) -> None:
    status, told, _ = ask(mesh.web, "/upload", "PUT", b"x" * 3_000_000)
    assert (status, told["size"]) == (200, 3_000_000)
    status, told, headers = ask(mesh.web, "/", "HEAD")
    assert (status, told) == (200, "")
    assert int(headers["content-length"]) > 0


def test_one_connection_carries_many_requests(mesh: Mesh) -> None:
    connection = http.client.HTTPConnection(mesh.web.address, LOCAL_PORT, timeout=10)
    for number in range(40):
        connection.request("GET", f"/{number}")
        response = connection.getresponse()
        told = json.loads(response.read())
        assert told["path"] == f"/{number}"
    connection.close()


def test_routes_splits_and_rewrites(mesh: Mesh) -> None:
    mesh.entry(
        {
            "Kind": "service-resolver",
            "Name": "api",
            "Subsets": {
                "v1": {"Filter": "Service.Meta.version == v1"},
                "v2": {"Filter": "Service.Meta.version == v2"},
            },
        }
    )
    mesh.entry(
        {
            "Kind": "service-splitter",
            "Name": "api",
            "Splits": [
                {"Weight": 90, "ServiceSubset": "v1"},
                {"Weight": 10, "ServiceSubset": "v2"},
            ],
        }
    )
    mesh.entry(
        {
            "Kind": "service-router",
            "Name": "api",
            "Routes": [
                {
                    "Match": {"HTTP": {"Header": [{"Name": "x-canary", "Exact": "yes"}]}},
                    "Destination": {"ServiceSubset": "v2"},
                },
                {
                    "Match": {"HTTP": {"PathPrefix": "/old/"}},
                    "Destination": {"ServiceSubset": "v1", "PrefixRewrite": "/new/"},
                },
            ],
        }
    )
    try:
        eventually(
            lambda: ask(mesh.web, "/old/thing?q=1")[1]["path"] == "/new/thing?q=1",
            within_s=10,
            what="the route is in force",
        )
        assert {ask(mesh.web, "/", x_canary="yes")[1]["version"] for _ in range(10)} == {"v2"}
        counted = Counter(ask(mesh.web, "/")[1]["version"] for _ in range(400))
        assert 15 <= counted["v2"] <= 75  # 40 expected, six standard deviations
    finally:
        for kind in ("service-router", "service-splitter", "service-resolver"):
            mesh.api.request("DELETE", f"/v1/config/{kind}/api")


def test_each_request_is_authorised_and_a_denial_can_be_found(mesh: Mesh) -> None:
    mesh.entry(
        {
            "Kind": "service-intentions",
            "Name": "api",
            "Sources": [
                {
                    "Name": "web",
                    "Permissions": [
                        {"Action": "deny", "HTTP": {"PathPrefix": "/admin"}},
                        {"Action": "allow", "HTTP": {"PathPrefix": "/", "Methods": ["GET"]}},
                        {"Action": "deny", "HTTP": {"PathPrefix": "/"}},
                    ],
                }
            ],
        }
    )
    try:
        eventually(
            lambda: all(ask(mesh.web, "/admin")[0] == 403 for _ in range(20)),
            within_s=30,
            what="the intention is in force at both sidecars",
        )
        mesh.one.seen.clear()
        mesh.two.seen.clear()
        status, told, headers = ask(mesh.web, "/admin/users")
        assert (status, told) == (403, "RBAC: access denied")
        assert len(headers["x-lictor-reference"]) == 16
        assert ask(mesh.web, "/public")[0] == 200
        assert ask(mesh.web, "/public", "POST", b"x")[0] == 403
        for trick in ("/public/../admin", "//admin", "/%61dmin", "/./admin", "/x/%2e%2e/admin"):
            assert ask(mesh.web, trick)[0] == 403, trick
        for refused in ("/admin%2fusers", "/a%00b", "/x%5c..%5cadmin"):
            assert ask(mesh.web, refused)[0] in (400, 403), refused
        assert not any("admin" in path for path in mesh.one.seen + mesh.two.seen)
    finally:
        mesh.api.request("DELETE", "/v1/config/service-intentions/api")
    eventually(lambda: ask(mesh.web, "/admin")[0] == 200, within_s=10, what="it is gone again")


def test_failures_are_tried_again_where_the_route_says_so(mesh: Mesh) -> None:
    mesh.entry(
        {
            "Kind": "service-router",
            "Name": "api",
            "Routes": [
                {
                    "Match": {"HTTP": {"PathPrefix": "/"}},
                    "Destination": {"NumRetries": 3, "RetryOnStatusCodes": [503]},
                }
            ],
        }
    )
    try:

        def settled() -> bool:
            mesh.one.failing = 1
            statuses = [ask(mesh.web, "/try")[0] for _ in range(6)]
            return set(statuses) == {200}

        eventually(settled, within_s=15, what="a retry hides one failure")
        mesh.one.failing = mesh.two.failing = 2
        assert ask(mesh.web, "/", "POST", b"x")[0] in (200, 503)  # never twice
        mesh.one.failing = mesh.two.failing = 0
    finally:
        mesh.api.request("DELETE", "/v1/config/service-router/api")


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n" + b"x" * 9000,
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["both-lengths", "two-hosts", "space-before-colon", "bare-lf", "nul"],
)
def test_ambiguous_requests_are_refused_and_nothing_is_forwarded(mesh: Mesh, raw: bytes) -> None:
    before = len(mesh.one.seen) + len(mesh.two.seen)
    with socket.create_connection((mesh.web.address, LOCAL_PORT), timeout=5) as connection:
        connection.sendall(raw)
        answer = connection.recv(65536)
        assert answer.split(b" ")[1] in (b"400", b"414", b"431")
        while answer:
            answer = connection.recv(65536)  # and the connection ends
    assert len(mesh.one.seen) + len(mesh.two.seen) == before
