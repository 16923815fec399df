"""What upstreams can be told to do, on whole agents and real TLS: balancing, splits, failover,
waiting, websockets, gRPC, tokens, large streams. One cluster for all of it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web as aioweb

from proxy.balance.optimum import mean_latency, optimal_loads
from tests.e2e.cluster import AgentProcess, cluster
from tests.e2e.test_mesh import echo_server
from tests.interop.test_grpc import PYTHON, SCRIPT, there
from tests.proxy.tokens import Issuer
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(600)]

API_PORT, TCP_PORT, GRPC_PORT = 15280, 15281, 15282
VERSIONS = ("v1", "v2", "v3", "v4")
#: Of 10,000 honest runs one is worse: chi-square with three degrees of freedom.
CHI_SQUARE = 21.1
#: What each host does to a request: so many seconds for each one under way, and the same delay.
SLOPES, DELAY_S, CLIENTS = (0.008, 0.016, 0.032, 0.064), 0.016, 32


@dataclass
class Host:
    """An instance of api. ``slope_s`` for each request under way; ``status`` is what it says."""

    version: str
    port: int = 0
    status: int = 200
    slope_s: float = 0.0
    delay_s: float = 0.0
    active: int = 0
    seen: int = 0
    #: Requests under way, summed over time, and since when.
    load: float = 0.0
    since: float = field(default_factory=time.monotonic)

    def account(self, change: int) -> None:
        now = time.monotonic()
        self.load += self.active * (now - self.since)
        self.since, self.active = now, self.active + change

    async def answer(self, request: aioweb.Request) -> aioweb.StreamResponse:
        self.seen += 1
        self.account(1)
        try:
            if request.headers.get("Upgrade"):
                return await self._websocket(request)
            await request.read()
            wait_s = self.delay_s + self.slope_s * self.active
            if request.path == f"/hang/{self.version}":
                wait_s = 5.0
            if wait_s:
                await asyncio.sleep(wait_s)
            return aioweb.json_response({"version": self.version}, status=self.status)
        finally:
            self.account(-1)

    @staticmethod
    async def _websocket(request: aioweb.Request) -> aioweb.WebSocketResponse:
        made = aioweb.WebSocketResponse(max_msg_size=1 << 24)
        await made.prepare(request)
        async for message in made:
            if message.type is aiohttp.WSMsgType.TEXT:
                await made.send_str(message.data)
            else:
                await made.send_bytes(message.data)
        return made


@contextlib.contextmanager
def hosts() -> Iterator[list[Host]]:
    """All instances in one thread."""
    loop, made = asyncio.new_event_loop(), [Host(version) for version in VERSIONS]

    async def start() -> list[aioweb.AppRunner]:
        runners = []
        for host in made:
            application = aioweb.Application(client_max_size=1 << 24)
            application.router.add_route("*", "/{path:.*}", host.answer)
            runner = aioweb.AppRunner(application, access_log=None)
            await runner.setup()
            site = aioweb.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host.port = runner.addresses[0][1]
            runners.append(runner)
        return runners

    runners = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        for runner in runners:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextlib.contextmanager
def grpc_application() -> Iterator[int]:
    if not there():
        yield 1  # nobody calls it
        return
    with subprocess.Popen(
        [PYTHON, SCRIPT, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        try:
            yield int(child.stdout.readline())
        finally:
            child.stdin.close()


@dataclass
class Mesh:
    server: AgentProcess
    there: AgentProcess
    web: AgentProcess
    hosts: list[Host]

    def entry(self, kind: str, name: str, **content: Any) -> None:
        self.server.put("/v1/config", {"Kind": kind, "Name": name, **content})

    @contextlib.contextmanager
    def entries(self, *given: tuple[str, str, dict[str, Any]]) -> Iterator[None]:
        """Entries for the time of a test."""
        for kind, name, content in given:
            self.entry(kind, name, **content)
        try:
            yield
        finally:
            for kind, name, _ in reversed(given):
                self.server.request("DELETE", f"/v1/config/{kind}/{name}")

    def metrics(self) -> str:
        return self.web.get("/v1/agent/connect/proxy-metrics/web-sidecar-proxy").body.decode()

    def ask(self, count: int = 1, **more: Any) -> Answers:
        return asyncio.run(self.asked(count, **more))

    async def asked(
        self,
        count: int,
        *,
        path: str = "/",
        clients: int = 8,
        headers: Any = lambda number: {},
        times: list[float] | None = None,
    ) -> Answers:
        """So many requests by so many clients."""
        found, numbers = Answers(), iter(range(count))
        url = f"http://{self.web.address}:{API_PORT}{path}"
        timeout = aiohttp.ClientTimeout(total=60)
        connector = aiohttp.TCPConnector(limit=0)

        async def client(session: aiohttp.ClientSession) -> None:
            for number in numbers:
                began = time.monotonic()
                async with session.get(url, headers=headers(number)) as response:
                    text = await response.text()
                if times is not None:
                    times.append(time.monotonic() - began)
                version = json.loads(text).get("version", "") if text[:1] == "{" else text
                found.append((response.status, version))

        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            await asyncio.gather(*(client(session) for _ in range(clients)))
        return found


class Answers(list[tuple[int, str]]):
    """Status and version of each."""

    @property
    def versions(self) -> Counter[str]:
        return Counter(version for _, version in self)

    @property
    def statuses(self) -> set[int]:
        return {status for status, _ in self}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with (
        cluster(tmp_path_factory.mktemp("policies")) as made,
        hosts() as api,
        echo_server("127.0.0.1") as echo,
        grpc_application() as rpc,
    ):
        server = made.servers(1)[0]
        there, web = made.add("hosts").ready(90), made.add("web-host").ready(90)
        found = Mesh(server, there, web, api)
        found.entry("service-defaults", "api", Protocol="http")
        found.entry("service-defaults", "rpc", Protocol="grpc")
        for host in api:
            there.put(
                "/v1/agent/service/register",
                {"Name": "api", "ID": f"api-{host.version}", "Port": host.port,
                 "Meta": {"version": host.version}, "Connect": {"SidecarService": {}}},
            )  # fmt: skip
        for name, port in (("db", echo), ("rpc", rpc)):
            there.put(
                "/v1/agent/service/register",
                {"Name": name, "Port": port, "Connect": {"SidecarService": {}}},
            )
        health = {"max_failures": 5, "interval": "1s", "base_ejection_time": "3s",
                  "max_ejection_percent": 50}  # fmt: skip
        upstreams = [
            {"DestinationName": name, "LocalBindAddress": web.address, "LocalBindPort": port,
             "Config": config}
            for name, port, config in (
                ("api", API_PORT, {"passive_health_check": health}),
                ("db", TCP_PORT, {}), ("rpc", GRPC_PORT, {}),
            )
        ]  # fmt: skip
        web.put(
            "/v1/agent/service/register",
            {"Name": "web", "Port": 1,
             "Connect": {"SidecarService": {"Proxy": {"Upstreams": upstreams}}}},
        )  # fmt: skip

        def all_answer() -> bool:
            answers = found.ask(24)
            return answers.statuses == {200} and len(answers.versions) == len(VERSIONS)

        eventually(all_answer, within_s=120, what="all instances answer")
        yield found


def in_force(mesh: Mesh, policy: str) -> None:
    """Wait until the sidecar chooses by this policy."""

    def chosen() -> bool:
        mesh.ask(1)
        label = f'policy="{policy}"'
        lines = mesh.metrics().splitlines()
        return any(label in each for each in lines if each.startswith("lictor_proxy_lb_picks"))

    eventually(chosen, within_s=20, what=f"{policy} is in force")


def balanced(policy: str, **more: Any) -> tuple[str, str, dict[str, Any]]:
    return "service-resolver", "api", {"LoadBalancer": {"Policy": policy, **more}}


def chi_square(counts: Counter[str]) -> float:
    wanted = sum(counts.values()) / len(VERSIONS)
    return sum((counts[version] - wanted) ** 2 / wanted for version in VERSIONS)


BY_USER = {"HashPolicies": [{"Field": "header", "FieldValue": "x-user"}]}


@pytest.mark.parametrize("policy", ["round_robin", "random", "least_request"])
def test_equal_hosts_get_equal_shares(mesh: Mesh, policy: str) -> None:
    with mesh.entries(balanced(policy)):
        in_force(mesh, policy)
        answers = mesh.ask(1200)
    assert answers.statuses == {200}
    if policy == "round_robin":
        assert max(answers.versions.values()) - min(answers.versions.values()) <= 1
    assert chi_square(answers.versions) < CHI_SQUARE


@pytest.mark.parametrize("policy", ["adaptive", "p2c_ewma"])
def test_latency_policies_use_all_hosts(mesh: Mesh, policy: str) -> None:
    with mesh.entries(balanced(policy)):
        in_force(mesh, policy)
        answers = mesh.ask(800)
    assert answers.statuses == {200} and set(answers.versions) == set(VERSIONS)


@pytest.mark.parametrize("policy", ["ring_hash", "maglev"])
def test_a_user_stays_with_his_host(mesh: Mesh, policy: str) -> None:
    with mesh.entries(balanced(policy, **BY_USER)):
        in_force(mesh, policy)

        def all_users(count: int) -> list[str]:
            answers = mesh.ask(count, clients=1, headers=lambda number: {"x-user": f"u{number}"})
            assert answers.statuses == {200}
            return [version for _, version in answers]

        # Until the table is made, some are led elsewhere.
        eventually(lambda: all_users(80) == all_users(80), within_s=20, what="the table is made")
        before, after = all_users(400), all_users(400)
    assert before == after
    counts = Counter(before)
    assert set(counts) == set(VERSIONS)
    if policy == "maglev":
        assert chi_square(counts) < CHI_SQUARE


def test_an_address_stays_with_its_host(mesh: Mesh) -> None:
    with mesh.entries(balanced("source_ip_hash")):
        in_force(mesh, "source_ip_hash")
        assert len(mesh.ask(60).versions) == 1


def test_unequal_hosts_get_what_the_mathematics_says(mesh: Mesh) -> None:
    """The adaptive policy within 5 % of the optimum, its p99 at most half of round robin's."""
    best = mean_latency(SLOPES, [DELAY_S] * 4, optimal_loads(SLOPES, [DELAY_S] * 4, CLIENTS))
    slowest: dict[str, float] = {}
    means: dict[str, float] = {}
    for host, slope in zip(mesh.hosts, SLOPES, strict=True):
        host.slope_s, host.delay_s = slope, DELAY_S
    try:
        for policy in ("round_robin", "adaptive"):
            with mesh.entries(balanced(policy)):
                in_force(mesh, policy)
                mesh.ask(1000, clients=CLIENTS)  # until the fits are good
                for host in mesh.hosts:
                    host.account(0)
                    host.load = 0.0
                times: list[float] = []
                mesh.ask(2500, clients=CLIENTS, times=times)
                for host in mesh.hosts:
                    host.account(0)
                whole = sum(host.load for host in mesh.hosts)
                loads = [host.load / whole * CLIENTS for host in mesh.hosts]
                means[policy] = mean_latency(SLOPES, [DELAY_S] * 4, loads)
                slowest[policy] = sorted(times)[int(len(times) * 0.99)]
    finally:
        for host in mesh.hosts:
            host.slope_s = host.delay_s = 0.0
    print(f"optimum {best:.4f} s, means {means}, p99 {slowest}")
    assert means["adaptive"] <= 1.05 * best, (means, best)
    assert slowest["adaptive"] <= 0.5 * slowest["round_robin"], slowest


SUBSETS = {"Subsets": {v: {"Filter": f"Service.Meta.version == {v}"} for v in VERSIONS}}


def test_a_split_is_within_one_percent_and_a_header_finds_the_canary(mesh: Mesh) -> None:
    legs = [{"Weight": 90, "ServiceSubset": "v1"}, {"Weight": 10, "ServiceSubset": "v2"}]
    canary = {"Match": {"HTTP": {"Header": [{"Name": "x-canary", "Exact": "yes"}]}},
              "Destination": {"ServiceSubset": "v3"}}  # fmt: skip
    with mesh.entries(
        ("service-resolver", "api", SUBSETS),
        ("service-splitter", "api", {"Splits": legs}),
        ("service-router", "api", {"Routes": [canary]}),
    ):
        eventually(
            lambda: set(mesh.ask(40, headers=lambda _: {"x-canary": "yes"}).versions) == {"v3"},
            within_s=20, what="the canary is found",
        )  # fmt: skip
        answers = mesh.ask(16_000, clients=16)
    assert answers.statuses == {200} and set(answers.versions) == {"v1", "v2"}
    # Within 1 % of all requests: four standard deviations.
    assert abs(answers.versions["v2"] / len(answers) - 0.1) < 0.01


def test_another_subset_stands_in_and_goes_back(mesh: Mesh) -> None:
    resolver = {**SUBSETS, "DefaultSubset": "v1", "Failover": {"v1": {"ServiceSubset": "v2"}}}
    with mesh.entries(("service-resolver", "api", resolver)):

        def only(version: str) -> bool:
            return mesh.ask(10) == [(200, version)] * 10

        def maintenance(on: str) -> None:
            path = "/v1/agent/service/maintenance/api-v1-sidecar-proxy"
            mesh.there.request("PUT", f"{path}?enable={on}")

        eventually(lambda: only("v1"), within_s=20, what="the first subset alone")
        maintenance("true")
        try:
            eventually(lambda: only("v2"), within_s=20, what="the other subset stands in")
        finally:
            maintenance("false")
        eventually(lambda: only("v1"), within_s=20, what="the first subset is back")
    eventually(lambda: len(mesh.ask(40).versions) == 4, within_s=20, what="all are asked again")


def test_a_host_that_fails_is_left_out_and_comes_back(mesh: Mesh) -> None:
    with mesh.entries(balanced("round_robin")):
        in_force(mesh, "round_robin")
        bad = mesh.hosts[2]
        bad.status = 503
        try:
            failed = [status for status, _ in mesh.ask(200, clients=1)].count(503)
            assert 5 <= failed <= 15, failed  # once it is left out, and perhaps tried again
            assert "lictor_proxy_ejections_total" in mesh.metrics()
        finally:
            bad.status = 200
        eventually(lambda: "v3" in mesh.ask(20).versions, within_s=30, what="it is asked again")
        assert mesh.ask(100).statuses == {200}


def test_waiting_ends_in_time_and_hedges_do_not_wait(mesh: Mesh) -> None:
    short = {"Match": {"HTTP": {"PathPrefix": "/hang"}},
             "Destination": {"RequestTimeout": "400ms"}}  # fmt: skip
    with mesh.entries(balanced("round_robin"), ("service-router", "api", {"Routes": [short]})):

        def in_time() -> bool:
            times: list[float] = []
            answers = mesh.ask(8, path="/hang/v1", clients=1, times=times)
            return answers.statuses == {200, 504} and max(times) < 3

        eventually(in_time, within_s=20, what="a request ends after its time")
    hedged = {"Config": {"lictor_hedge_after": "150ms"}}
    with mesh.entries(balanced("round_robin"), ("proxy-defaults", "global", hedged)):

        def saved() -> bool:
            times: list[float] = []
            answers = mesh.ask(12, path="/hang/v2", clients=1, times=times)
            return answers.statuses == {200} and max(times) < 3 and "v2" not in answers.versions

        eventually(saved, within_s=60, what="a second try answers")


def test_websockets_pass(mesh: Mesh) -> None:
    async def talk() -> None:
        url = f"http://{mesh.web.address}:{API_PORT}/talk"
        big = random.Random(1).randbytes(1 << 20)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, max_msg_size=1 << 24) as talking,
        ):
            for number in range(50):
                await talking.send_str(f"hello {number}")
                assert await talking.receive_str(timeout=30) == f"hello {number}"
            await talking.send_bytes(big)
            assert await talking.receive_bytes(timeout=60) == big

    asyncio.run(talk())


def test_grpc_calls_of_every_kind_pass(mesh: Mesh) -> None:
    if not there():
        pytest.skip("grpcio is absent: make interop-clients")
    permissions = [{"Action": "deny", "HTTP": {"PathPrefix": "/t.Test/Secret"}},
                   {"Action": "allow", "HTTP": {"PathPrefix": "/"}}]  # fmt: skip
    rule = {"Sources": [{"Name": "web", "Permissions": permissions}]}
    with mesh.entries(("service-intentions", "rpc", rule)):

        def called() -> list[dict[str, str]]:
            done = subprocess.run(
                [PYTHON, SCRIPT, "call", f"{GRPC_PORT}", mesh.web.address],
                capture_output=True, timeout=150, check=True,
            )  # fmt: skip
            return [json.loads(line) for line in done.stdout.splitlines()]

        told: list[dict[str, str]] = []

        def good() -> bool:
            told[:] = called()
            trouble = [each for each in told if each["trouble"]]
            assert not trouble, trouble
            return True

        eventually(good, within_s=200, what="calls of every kind")
        assert len(told) == 12


def test_an_intention_wants_a_token(mesh: Mesh) -> None:
    issuer, other = Issuer(), Issuer()
    rule = {"Sources": [{"Name": "web", "Action": "allow"}],
            "JWT": {"Providers": [{"Name": "okta"}]}}  # fmt: skip

    def status(token: str) -> set[int]:
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        return mesh.ask(8, headers=lambda _: sent).statuses

    with mesh.entries(
        ("jwt-provider", "okta", issuer.provider()), ("service-intentions", "api", rule)
    ):
        eventually(lambda: status("") == {401}, within_s=30, what="a token is wanted")
        claims = {"iss": "me", "exp": time.time() + 600}
        eventually(lambda: status(issuer.token(**claims)) == {200}, within_s=20, what="a good one")
        assert status(other.token(**claims)) == {401}
        assert status(issuer.token(iss="me", exp=time.time() - 600)) == {401}
        assert status(issuer.token(**{**claims, "iss": "you"})) == {401}
    eventually(lambda: status("") == {200}, within_s=20, what="none is wanted any more")


def test_a_gibibyte_comes_through_unharmed(mesh: Mesh) -> None:
    piece, count = random.Random(7).randbytes(1 << 20), 1024
    sent, received = hashlib.blake2b(), hashlib.blake2b()
    eventually(lambda: _connects(mesh), within_s=30, what="db is reached")
    with socket.create_connection((mesh.web.address, TCP_PORT), timeout=60) as connection:

        def send() -> None:
            for number in range(count):
                data = number.to_bytes(8) + piece[8:]
                sent.update(data)
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        size = 0
        while data := connection.recv(1 << 18):
            received.update(data)
            size += len(data)
        sender.join(30)
    assert size == count << 20
    assert received.digest() == sent.digest()


def _connects(mesh: Mesh) -> bool:
    with socket.create_connection((mesh.web.address, TCP_PORT), timeout=10) as connection:
        connection.sendall(b"x")
        return connection.recv(1) == b"x"


def test_what_has_happened_is_counted(mesh: Mesh) -> None:
    mesh.ask(40)
    metrics = mesh.metrics()
    for wanted in (
        'lictor_proxy_requests_total{service="web",dc="dc1",direction="outbound",upstream="api"',
        'lictor_proxy_endpoints{', 'state="healthy",priority="0"} 4',
        "lictor_proxy_request_duration_seconds",
        "lictor_proxy_failover_active", "lictor_proxy_leaf_expiry_seconds",
    ):  # fmt: skip
        assert wanted in metrics, wanted
