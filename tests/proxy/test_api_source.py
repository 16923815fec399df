"""The feed from an agent's HTTP API, against a real server that speaks Consul's JSON."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import api_json
from proxy.agent_api import ApiSourceConfig, find_sidecar
from proxy.api_source import ApiSource
from proxy.authz import DEFAULT_ACL_OFF, DEFAULT_BY_ACL, Permission
from proxy.errors import SourceError
from proxy.source import AppAddress, Endpoint, OwnService, UpstreamSpec
from tests.proxy.mesh import DATACENTER, TRUST_DOMAIN, Authority, rule, until
from tests.strategies import scaled

#: What is tested does not depend on the loop.
ONE_LOOP = True

CONFIG = ApiSourceConfig(wait_s=0.5, backoff_first_s=0.02, backoff_max_s=0.05, pause_min_s=0.0)

SIDECAR = {
    "Kind": "connect-proxy",
    "ID": "web-sidecar-proxy",
    "Service": "web-sidecar-proxy",
    "Address": "10.0.0.7",
    "Port": 21000,
    "Proxy": {
        "DestinationServiceName": "web",
        "DestinationServiceID": "web",
        "LocalServiceAddress": "127.0.0.1",
        "LocalServicePort": 8080,
        "Config": {"local_connect_timeout_ms": 1500, "max_inbound_connections": 7},
        "Upstreams": [
            {
                "DestinationType": "service",
                "DestinationName": "db",
                "LocalBindPort": 9191,
                "Config": {"connect_timeout_ms": 3000},
            }
        ],
    },
}


class Agent:
    """Holds one value and index a path, and answers blocking queries on it."""

    def __init__(self) -> None:
        self.things: dict[str, tuple[int, Any]] = {}
        self.policy = "allow"
        self.status = 200
        self.asked: list[str] = []
        self.held = 0
        self.moved = asyncio.Event()
        self.runner: web.AppRunner | None = None
        self.port = 0

    def put(self, path: str, value: Any) -> None:
        index = max((index for index, _ in self.things.values()), default=10) + 1
        self.things[path] = (index, value)
        moved, self.moved = self.moved, asyncio.Event()
        moved.set()

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        if self.status != 200:
            return web.Response(status=self.status, text="no")
        path = request.path
        if path not in self.things:
            return web.Response(status=404, text="unknown")
        want = int(request.query.get("index", "0")), request.query.get("hash", "")
        deadline = asyncio.get_running_loop().time() + 0.5
        while (want[0] and self.things[path][0] <= want[0]) or want[1] == self.hash(path):
            self.held += 1
            try:
                left = deadline - asyncio.get_running_loop().time()
                await asyncio.wait_for(self.moved.wait(), left)
            except TimeoutError:
                break
            finally:
                self.held -= 1
        index, value = self.things[path]
        headers = {"X-Consul-Default-ACL-Policy": self.policy, "X-Consul-Index": str(index)}
        if path.startswith("/v1/agent/service/"):
            headers = {"X-Consul-ContentHash": self.hash(path)}
        return web.json_response(value, headers=headers)

    def hash(self, path: str) -> str:
        return f"h{self.things[path][0]}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/{tail:.*}", self.handle)
        self.runner = web.AppRunner(app, shutdown_timeout=0.05)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


def health(port: int, address: str = "", node: str = "10.9.9.9") -> dict[str, Any]:
    return {
        "Node": {"Node": "n1", "Address": node, "Datacenter": "dc1"},
        "Service": {"ID": "db-sidecar-proxy", "Address": address, "Port": port},
        "Checks": [],
    }


def fill(agent: Agent, authority: Authority) -> None:
    leaf = authority.leaf("web")
    agent.put("/v1/agent/service/web-sidecar-proxy", SIDECAR)
    agent.put(
        "/v1/agent/connect/ca/roots",
        {
            "TrustDomain": TRUST_DOMAIN,
            "Roots": [{"RootCert": authority.root.public.root_cert, "Active": True}],
        },
    )
    agent.put(
        "/v1/agent/connect/ca/leaf/web",
        {
            "CertPEM": leaf.cert_pem,
            "PrivateKeyPEM": leaf.private_key_pem,
            "ServiceURI": f"spiffe://{TRUST_DOMAIN}/ns/default/dc/{DATACENTER}/svc/web",
        },
    )
    agent.put("/v1/connect/intentions/match", {"web": []})
    agent.put("/v1/health/connect/db", [health(21001)])


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    made = Agent()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def source(agent: Agent) -> AsyncIterator[ApiSource]:
    made = ApiSource(
        http_addr=agent.address,
        proxy_id="web-sidecar-proxy",
        token="secret",
        config=CONFIG,
        rng=random.Random(1),
    )
    yield made
    await made.close()


def complete(source: ApiSource) -> bool:
    state = source.state
    return (
        state.own is not None
        and state.leaf is not None
        and bool(state.roots_pem)
        and state.rules is not None
        and bool(state.endpoints)
    )


async def test_everything_a_proxy_needs_is_learnt_from_the_agent(
    agent: Agent, source: ApiSource
) -> None:
    fill(agent, Authority())
    await source.start()
    await until(lambda: complete(source), "the whole state")
    state = source.state
    assert state.own == OwnService(
        name="web",
        proxy_id="web-sidecar-proxy",
        listen_address="10.0.0.7",
        listen_port=21000,
        app=AppAddress("127.0.0.1", 8080),
        upstreams=(UpstreamSpec(name="db", bind_port=9191, connect_timeout_s=3.0),),
        local_connect_timeout_s=1.5,
        inbound_connections_max=7,
    )
    assert (state.trust_domain, state.datacenter) == (TRUST_DOMAIN, DATACENTER)
    assert (state.rules, state.default_allow, state.default_reason) == ((), True, DEFAULT_ACL_OFF)
    assert state.endpoints == {
        "127.0.0.1:9191": (
            Endpoint(
                address="10.9.9.9",
                port=21001,
                datacenter="dc1",
                node="n1",
                service_id="db-sidecar-proxy",
            ),
        )
    }
    assert "/v1/health/connect/db?passing" in agent.asked


async def test_a_change_arrives_while_the_query_is_held(agent: Agent, source: ApiSource) -> None:
    fill(agent, Authority())
    await source.start()
    await until(lambda: complete(source) and agent.held == 5, "all queries are held")
    asked = len(agent.asked)
    seen: list[object] = []
    source.subscribe(lambda state: seen.append(state.rules))
    agent.put(
        "/v1/connect/intentions/match",
        {
            "web": [
                {
                    "SourceName": "api",
                    "DestinationName": "web",
                    "Action": "deny",
                    "Precedence": 9,
                },
                {
                    "SourceName": "*",
                    "DestinationName": "web",
                    "Permissions": [{"Action": "allow"}],
                    "Precedence": 8,
                },
            ]
        },
    )
    await until(lambda: bool(seen), "the new rules", timeout_s=1.0)
    permitted = replace(rule("*", "web", "", permissions=1), matches=(Permission(action="allow"),))
    assert seen[-1] == (rule("api", "web", "deny"), permitted)
    assert len(agent.asked) - asked <= 6  # nothing spins


async def test_access_lists_that_deny_by_default_are_taken_from_the_header(
    agent: Agent, source: ApiSource
) -> None:
    agent.policy = "deny"
    fill(agent, Authority())
    await source.start()
    await until(lambda: complete(source), "the whole state")
    assert source.state.default_allow is False
    assert source.state.default_reason == DEFAULT_BY_ACL


async def test_an_upstream_that_leaves_the_registration_is_no_longer_followed(
    agent: Agent, source: ApiSource
) -> None:
    fill(agent, Authority())
    await source.start()
    await until(lambda: complete(source), "the whole state")
    agent.put(
        "/v1/agent/service/web-sidecar-proxy",
        {**SIDECAR, "Proxy": {**SIDECAR["Proxy"], "Upstreams": []}},  # type: ignore[dict-item]
    )
    await until(lambda: source.state.own is not None and not source.state.own.upstreams, "gone")
    assert not [name for name in source._followers if name.startswith("upstream")]


async def test_the_last_state_stays_while_the_agent_is_away(
    agent: Agent, source: ApiSource
) -> None:
    fill(agent, Authority())
    await source.start()
    await until(lambda: complete(source), "the whole state")
    before = source.state
    await agent.stop()
    agent.put("/v1/health/connect/db", [health(21002)])
    await until(lambda: bool(source._tasks), "still trying")
    assert source.state == before
    await agent.start()
    await until(
        lambda: source.state.endpoints["127.0.0.1:9191"][0].port == 21002, "news after the return"
    )
    assert source.state.leaf == before.leaf


async def test_an_error_of_the_agent_keeps_what_is_known(agent: Agent, source: ApiSource) -> None:
    fill(agent, Authority())
    agent.put("/v1/connect/intentions/match", {"web": [{"SourceName": 5}]})
    await source.start()
    await until(
        lambda: sum("intentions" in path for path in agent.asked) >= 3, "it tries again and again"
    )
    assert source.state.rules is None  # and so nobody is let in
    agent.put("/v1/connect/intentions/match", {"web": []})
    await until(lambda: source.state.rules == (), "a good answer")


async def test_an_index_that_goes_back_starts_over(agent: Agent, source: ApiSource) -> None:
    fill(agent, Authority())
    await source.start()
    await until(lambda: complete(source), "the whole state")
    agent.things["/v1/health/connect/db"] = (1, [health(21003)])  # a cluster with a new history
    await until(
        lambda: source.state.endpoints["127.0.0.1:9191"][0].port == 21003, "the new history"
    )


async def test_an_answer_without_bound_is_refused(agent: Agent) -> None:
    agent.put("/v1/agent/services", {"x": "y" * 10_000})
    with pytest.raises(SourceError, match="longer than 1000 bytes"):
        await find_sidecar(agent.address, "web", body_max_bytes=1000)


async def test_the_sidecar_of_a_service_is_found_or_the_error_says_why(agent: Agent) -> None:
    plain = {"Service": "web", "Port": 1}
    agent.put("/v1/agent/services", {"web": plain})
    with pytest.raises(SourceError, match="No sidecar proxy registered for web"):
        await find_sidecar(agent.address, "web")
    agent.put("/v1/agent/services", {"web": plain, "web-sidecar-proxy": SIDECAR})
    assert await find_sidecar(agent.address, "web") == "web-sidecar-proxy"
    agent.put("/v1/agent/services", {"a": SIDECAR, "b": SIDECAR})
    with pytest.raises(SourceError, match=r"More than one sidecar proxy registered for web.*a, b"):
        await find_sidecar(agent.address, "web")
    await agent.stop()
    with pytest.raises(SourceError, match="Failed looking up sidecar proxy info"):
        await find_sidecar(agent.address, "web")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(
            ["Kind", "Proxy", "Config", "Upstreams", "Port", "Address", "Roots", "RootCert", "web",
             "SourceName", "Permissions", "Precedence", "Node", "Service", "bind_port",
             "LocalBindSocketMode", "ServiceURI"]
        ), inner, max_size=6,
    ),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=scaled(120), deadline=None)
@given(json_values)
def test_json_of_any_shape_is_read_or_refused(value: Any) -> None:
    body = api_json.load(json.dumps(value).encode())
    for read in (
        lambda: api_json.own_service(body, "x"),
        lambda: api_json.own_service({"Kind": "connect-proxy", "Proxy": body}, "x"),
        lambda: api_json.roots(body),
        lambda: api_json.leaf(body),
        lambda: api_json.rules(body, "web"),
        lambda: api_json.endpoints(body),
        lambda: api_json.sidecar_of(body, "web"),
    ):
        try:
            read()
        except SourceError:
            continue
