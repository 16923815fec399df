"""Where requests really go, counted at the applications behind real sidecars."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from proxy.http1.head import Request
from proxy.l7.outliers import OutlierConfig
from proxy.l7.settings import UpstreamSettings
from tests.proxy.l7.net import GET, Net, body_of, head_of, net
from tests.proxy.mesh import Mesh, until

#: What is tested does not depend on the loop.
ONE_LOOP = True

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = Mesh()
    async with made.stack:
        yield made


async def many(made: Net, count: int, header: str = "") -> Counter[str]:
    """The answers to so many requests in a row on one connection."""
    reader, writer = await made.connect()
    counted: Counter[str] = Counter()
    for number in range(count):
        raw = GET[:-2] + header.format(n=number).encode() + b"\r\n" if header else GET
        writer.write(raw)
        _, headers = await asyncio.wait_for(head_of(reader), 60)
        counted[(await body_of(reader, headers)).decode()] += 1
    writer.close()
    return counted


async def test_round_robin_is_exact_and_weights_count(mesh: Mesh) -> None:
    made = await net(mesh, "a", "b", "c", settings=UpstreamSettings(balancer="round_robin"))
    assert set((await many(made, 60)).values()) == {20}
    weighted = [
        replace(made.hosts[name], weight=w) for name, w in zip("abc", (5, 1, 1), strict=True)
    ]
    made.change(hosts={"db": tuple(weighted)})
    assert await many(made, 70) == {"a": 50, "b": 10, "c": 10}


@pytest.mark.parametrize("policy", ["random", "least_request", "least_connections"])
async def test_equal_hosts_get_about_the_same(mesh: Mesh, policy: str) -> None:
    made = await net(mesh, "a", "b", "c", settings=UpstreamSettings(balancer=policy))
    counted = await many(made, 240)
    assert sum(counted.values()) == 240
    # Chi square with 2 degrees of freedom: 18.4 has one chance in 10,000; the dice are seeded.
    assert sum((count - 80) ** 2 / 80 for count in counted.values()) < 18.4, counted


async def test_latency_policies_use_every_equal_host(mesh: Mesh) -> None:
    for policy in ("p2c_ewma", "adaptive"):
        made = await net(mesh, "a", "b", settings=UpstreamSettings(balancer=policy))
        counted = await many(made, 200)
        assert set(counted) == {"a", "b"}, policy


async def test_a_failing_host_is_ejected_and_comes_back(mesh: Mesh) -> None:
    outliers = OutlierConfig(max_failures=3, base_ejection_s=1.0, interval_s=0.5)
    settings = UpstreamSettings(balancer="round_robin", outliers=outliers)
    made = await net(mesh, "a", "b", "c", settings=settings)
    made.apps["a"].status = 500
    hosts = made.state.hosts["db"]
    for _ in range(20):
        if hosts.ejections:
            break
        await many(made, 3)
    assert hosts.ejections == 1
    made.apps["a"].status = 200
    assert "a" not in await many(made, 4)
    counted: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 60
    while not counted["a"] and loop.time() < deadline:
        counted += await many(made, 4)
    assert counted["a"], "it is asked again"
    await until(lambda: not hosts.outliers.ejected(loop.time()), "nobody is out", 20)


async def test_a_split_is_within_one_percent(mesh: Mesh) -> None:
    nodes = {
        "s": {"Type": "splitter", "Splits": [
            {"Weight": 90, "NextNode": "resolver:db"}, {"Weight": 10, "NextNode": "resolver:other"},
        ]},
        "resolver:other": {"Type": "resolver", "Resolver": {"Target": "other"}},
    }  # fmt: skip
    made = await net(mesh, "a", "b", nodes=nodes, start="s")
    made.use("a")
    made.use("b", target="other")
    counted = await many(made, 200)
    assert 3 <= counted["b"] <= 40  # 20 expected; that it is within 1 % is shown with more below
    chain, around = made.state.chain, made.web._http._around
    request = Request("GET", "/", 1, (("Host", "db"),))
    legs = Counter(
        chain.choose(request, "/", around.rng, around.full_match).resolver.target.id
        for _ in range(50_000)
    )
    assert abs(legs["other"] / 50_000 - 0.1) < 0.01
