"""The feeds of proxies over the real state machine and authority."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agent.backend.acting import ACTING
from agent.connect.authority import Authority
from agent.connect.feed import Delta
from agent.connect.feeds import Feeds
from agent.connect.leaves import LeafCache
from agent.errors import RequestError
from agent.http.parse_config import subset_filter
from raftstore.commands import Register, SetIntention
from raftstore.definition_commands import DeleteConfigEntry, SetConfigEntry
from raftstore.entries import kinds
from raftstore.records import (
    Check,
    ExposePath,
    IntentionSource,
    Node,
    Proxy,
    Service,
    ServiceId,
    Upstream,
)
from tests.agent.connect.cluster import StateBackend


class Local:
    """The services of a host."""

    def __init__(self) -> None:
        self.held: dict[ServiceId, Service] = {}
        self.exposed: tuple[ExposePath, ...] = ()
        self._waiting: list[Callable[[], None]] = []

    def services(self) -> dict[ServiceId, Service]:
        return self.held

    def exposed_paths(self, proxy_id: ServiceId) -> tuple[ExposePath, ...]:
        return self.exposed

    def watch_once(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._waiting.append(callback)
        return lambda: self._waiting.remove(callback) if callback in self._waiting else None

    def put(self, service: Service | None, name: str = "web-proxy") -> None:
        if service is None:
            del self.held[ServiceId(name)]
        else:
            self.held[service.id] = service
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()


def sidecar(*upstreams: Upstream) -> Service:
    return Service(
        id=ServiceId("web-proxy"),
        name="web-sidecar-proxy",
        kind="connect-proxy",
        port=21000,
        proxy=Proxy(destination_service_name="web", upstreams=upstreams),
    )


class Mesh:
    """A state, an authority, and the feeds of one host."""

    def __init__(self) -> None:
        self.backend = StateBackend()
        self.local = Local()
        self.leaves = LeafCache(self.backend, datacenter="dc1", rng=random.Random(1))
        self.feeds = Feeds(
            self.backend,
            datacenter="dc1",
            leaves=self.leaves,
            local=self.local,
            make_filter=subset_filter,
            rng=random.Random(1),
        )

    async def start(self) -> None:
        authority = Authority(self.backend, datacenter="dc1", config={})
        await authority.ensure_root()
        self.backend.signer = authority.sign_leaf

    async def write(self, **body: Any) -> None:
        outcome = await self.backend.change(SetConfigEntry(kinds.decode(body)))
        assert outcome.value is True, outcome

    async def instance(self, node: str, name: str, *, status: str = "passing", **meta: str) -> None:
        await self.backend.change(
            Register(
                node=Node(name=node, address="10.0.0.1", datacenter="dc1"),
                service=Service(
                    id=f"{name}-proxy",
                    name=f"{name}-sidecar-proxy",
                    kind="connect-proxy",
                    port=21001,
                    meta=meta,
                    proxy=Proxy(destination_service_name=name),
                ),
                checks=(Check(id=f"c-{name}", service_id=f"{name}-proxy", status=status),),
            )
        )

    async def told(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """All resources, once they are as wanted; told bit by bit as to a proxy."""
        held: dict[str, Any] = {}
        version, deadline = "", time.monotonic() + 15
        while time.monotonic() < deadline:
            found: Delta = await self.feeds.next("web-proxy", version, 1.0)
            held = dict(found.resources) if found.full else held | dict(found.resources)
            for name in found.removed:
                held.pop(name, None)
            version = found.version
            if found.complete and fits(held):
                return held
        raise AssertionError(f"not told: {sorted(held)}")


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = Mesh()
    await made.start()
    yield made
    await made.feeds.close()
    await made.leaves.close()


async def test_all_that_a_proxy_needs_comes_in_one_stream(mesh: Mesh) -> None:
    mesh.local.put(sidecar(Upstream(destination_name="api", local_bind_port=9000)))
    await mesh.write(Kind="proxy-defaults", Config={"protocol": "http"})
    await mesh.write(
        Kind="service-resolver",
        Name="api",
        DefaultSubset="v2",
        Subsets={"v2": {"Filter": "Service.Meta.version == v2"}},
    )
    await mesh.instance("n1", "api", version="v1")
    await mesh.instance("n2", "api", version="v2")
    await mesh.instance("n3", "api", status="critical", version="v2")
    name = "endpoints/v2.api.default.dc1"
    held = await mesh.told(lambda held: len(held.get(name, ())) == 1)
    assert [one.node for one in held[name]] == ["n2"]
    assert held["leaf"].service == "web"
    assert held["roots"].trust_domain and held["intentions"] == ()
    assert held["chain/api"]["StartNode"] == "resolver:v2.api.default.dc1"
    assert held["upstream/api"].config["limits"]["max_connections"] == 1024
    assert held["proxy"].protocol == "http"


async def test_each_change_is_told_and_nothing_else(mesh: Mesh) -> None:
    mesh.local.put(sidecar())
    await mesh.told(lambda held: "leaf" in held)
    version = (await mesh.feeds.next("web-proxy", "", 0)).version
    waiting = asyncio.get_running_loop().create_task(mesh.feeds.next("web-proxy", version, 10.0))
    source = IntentionSource(name="api", action="deny")
    await mesh.backend.change(SetIntention(destination="web", source=source))
    found = await asyncio.wait_for(waiting, 5)
    assert [name for name, _ in found.resources] == ["intentions"] and not found.full
    assert found.resources[0][1][0].source.action == "deny"


async def test_upstreams_come_and_go_with_the_registration(mesh: Mesh) -> None:
    mesh.local.put(sidecar(Upstream(destination_name="api", local_bind_port=9000)))
    await mesh.told(lambda held: "endpoints/api.default.dc1" in held)
    mesh.local.put(sidecar(Upstream(destination_name="db", local_bind_port=9000)))
    held = await mesh.told(lambda held: "endpoints/db.default.dc1" in held)
    assert "chain/api" not in held and "endpoints/api.default.dc1" not in held
    mesh.local.put(None)
    with pytest.raises(RequestError):
        await mesh.feeds.next("web-proxy", "", 0)


async def test_a_redirect_moves_the_endpoints(mesh: Mesh) -> None:
    mesh.local.put(sidecar(Upstream(destination_name="api", local_bind_port=9000)))
    await mesh.instance("n1", "other")
    await mesh.told(lambda held: "endpoints/api.default.dc1" in held)
    await mesh.write(Kind="service-resolver", Name="api", Redirect={"Service": "other"})
    held = await mesh.told(lambda held: len(held.get("endpoints/other.default.dc1", ())) == 1)
    assert "endpoints/api.default.dc1" not in held
    await mesh.backend.change(DeleteConfigEntry("service-resolver", "api"))
    held = await mesh.told(lambda held: "endpoints/api.default.dc1" in held)
    assert "endpoints/other.default.dc1" not in held


async def test_providers_of_tokens_are_told_with_the_intentions(mesh: Mesh) -> None:
    mesh.local.put(sidecar())
    await mesh.write(Kind="service-defaults", Name="web", Protocol="http")
    await mesh.write(
        Kind="jwt-provider", Name="okta", JSONWebKeySet={"Local": {"Filename": "/keys"}}
    )
    await mesh.write(
        Kind="service-intentions",
        Name="web",
        Sources=[{"Name": "api", "Action": "allow"}],
        JWT={"Providers": [{"Name": "okta"}]},
    )
    held = await mesh.told(lambda held: "jwt/okta" in held)
    assert held["jwt/okta"]["JSONWebKeySet"] == {"Local": {"Filename": "/keys"}}


async def test_the_last_word_of_a_proxy_is_kept(mesh: Mesh) -> None:
    mesh.local.put(sidecar())
    await mesh.told(lambda held: "leaf" in held)
    version = (await mesh.feeds.next("web-proxy", "", 0)).version
    assert mesh.feeds.heard("web-proxy", version, "no such cipher")
    assert mesh.feeds.stats().rejected_current == 1
    assert mesh.feeds.explain()["web-proxy"]["Reason"] == "no such cipher"
    assert not mesh.feeds.heard("nobody", version, "")
    assert mesh.feeds.heard("web-proxy", version, "")
    assert mesh.feeds.stats().rejected_current == 0


async def test_what_entries_say_of_proxies_is_told(mesh: Mesh) -> None:
    mesh.local.exposed = (ExposePath(path="/ok", listener_port=21500, local_path_port=80),)
    mesh.local.put(sidecar(Upstream(destination_name="api", local_bind_port=9000)))
    await mesh.write(
        Kind="proxy-defaults",
        Mode="transparent",
        MeshGateway={"Mode": "local"},
        Expose={"Checks": True, "Paths": [{"Path": "/m", "ListenerPort": 9, "LocalPathPort": 8}]},
    )
    await mesh.write(
        Kind="service-defaults",
        Name="web",
        UpstreamConfig={"Overrides": [{"Name": "api", "MeshGateway": {"Mode": "remote"}}]},
    )
    held = await mesh.told(lambda held: held["proxy"].service.proxy.mode == "transparent"
                           and held["upstream/api"].upstream.mesh_gateway_mode)  # fmt: skip
    proxy = held["proxy"].service.proxy
    assert (proxy.mesh_gateway_mode, proxy.expose_checks) == ("local", True)
    assert [path.path for path in proxy.expose_paths] == ["/m"]
    assert [path.path for path in held["proxy"].checks] == ["/ok"]
    assert held["upstream/api"].upstream.mesh_gateway_mode == "remote"
    mesh.local.exposed = ()
    mesh.local.put(sidecar(Upstream(destination_name="api", local_bind_port=9000)))
    await mesh.told(lambda held: not held["proxy"].checks)


async def test_an_agent_may_leave_central_defaults_aside(mesh: Mesh) -> None:
    await mesh.feeds.close()
    mesh.feeds = Feeds(
        mesh.backend,
        datacenter="dc1",
        leaves=mesh.leaves,
        local=mesh.local,
        make_filter=subset_filter,
        rng=random.Random(1),
        central=False,
    )
    mesh.local.put(sidecar())
    await mesh.write(Kind="proxy-defaults", Mode="transparent", Config={"protocol": "http"})
    held = await mesh.told(lambda held: "proxy" in held)
    assert (held["proxy"].service.proxy.mode, held["proxy"].protocol) == ("", "tcp")


async def test_servers_that_do_not_answer_leave_what_is_known(mesh: Mesh) -> None:
    mesh.local.put(sidecar())
    held = await mesh.told(lambda held: "leaf" in held)
    mesh.backend.down = True
    found = await mesh.feeds.next("web-proxy", "", 0)
    assert dict(found.resources).keys() == held.keys() and found.complete


async def test_servers_are_asked_with_the_token_of_the_registration(mesh: Mesh) -> None:
    mesh.local.put(sidecar(Upstream(destination_name="db", local_bind_port=9000)))
    await mesh.instance("n2", "db")
    asked: set[str | None] = set()
    real = mesh.backend.ask

    async def ask(*given: Any) -> Any:
        asked.add(ACTING.get())
        return await real(*given)

    mesh.backend.ask = ask  # type: ignore[method-assign]
    feeds = Feeds(
        mesh.backend,
        datacenter="dc1",
        leaves=mesh.leaves,
        local=mesh.local,
        make_filter=subset_filter,
        rng=random.Random(1),
        token_of=lambda service_id: f"token of {service_id}",
    )
    await mesh.feeds.close()
    mesh.feeds = feeds
    acting = ACTING.set("somebody else's")
    try:
        await mesh.told(lambda held: any(name.startswith("endpoints/db") for name in held))
    finally:
        ACTING.reset(acting)
    assert "token of web-proxy" in asked
    assert "somebody else's" not in asked
