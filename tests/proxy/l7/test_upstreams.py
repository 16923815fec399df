"""Settings that change, probes, near hosts and the guard, through real sidecars in one loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from proxy.l7.guard import read
from proxy.l7.locality import Locality
from proxy.l7.settings import Limits, Probing, UpstreamSettings
from tests.proxy.l7.net import SPEC, chain, net
from tests.proxy.mesh import Mesh, until

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = Mesh()
    async with made.stack:
        yield made


async def test_new_settings_count_for_the_next_request(mesh: Mesh) -> None:
    made = await net(mesh, "a")
    assert (await made.ask())[0] == 200
    made.change(settings={SPEC.key: UpstreamSettings(limits=Limits(connections_max=0))})
    assert (await made.ask())[0] == 503
    made.change(settings={SPEC.key: UpstreamSettings()})
    assert (await made.ask())[0] == 200


async def test_a_host_that_probes_find_unwell_is_left_out_and_comes_back(mesh: Mesh) -> None:
    probing = Probing(path="/healthz", interval_s=0.05, timeout_s=5.0, up=1, down=2)
    settings = UpstreamSettings(balancer="round_robin", probing=probing)
    made = await net(mesh, "a", "b", settings=settings)
    probes = made.state.hosts["db"].probes
    assert probes is not None
    made.apps["a"].status = 500
    await until(lambda: len(probes.down) == 1, "probes find it", 20)
    assert {(await made.ask())[2] for _ in range(4)} == {b"b"}
    made.apps["a"].status = 200
    await until(lambda: not probes.down, "it is well again", 20)
    assert {(await made.ask())[2] for _ in range(4)} == {b"a", b"b"}
    assert all("lictor-probe" in h.get("user-agent", "") or f == "GET / HTTP/1.1"
               for f, h, _ in made.apps["a"].seen)  # fmt: skip


async def test_near_hosts_are_preferred_where_the_resolver_says_so(mesh: Mesh) -> None:
    settings = UpstreamSettings(balancer="round_robin")
    made = await net(mesh, "near", "far", settings=settings,
                     resolver={"PrioritizeByLocality": {"Mode": "failover"}})  # fmt: skip
    hosts = (
        replace(made.hosts["near"], region="eu", zone="a"),
        replace(made.hosts["far"], region="us", zone="b"),
    )
    made.change(hosts={"db": hosts}, locality=Locality("eu", "a"))
    assert Counter([(await made.ask())[2] for _ in range(10)]) == {b"near": 10}
    made.change(hosts={"db": hosts[1:]})
    assert (await made.ask())[2] == b"far"
    made.change(hosts={"db": hosts}, chains={SPEC.key: chain()})
    assert {(await made.ask())[2] for _ in range(4)} == {b"near", b"far"}


async def test_the_rate_limit_of_a_service_is_kept(mesh: Mesh) -> None:
    made = await net(mesh, "a")
    source = mesh.sources["db"]
    limits = {"InstanceLevel": {"RequestsPerSecond": 0.01, "RequestsMaxBurst": 2}}
    assert source.state.own is not None
    source.change(own=replace(source.state.own, guard=read(limits, {})))
    answers = [await made.ask() for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert int(answers[2][1]["retry-after"]) > 10
    source.change(own=replace(source.state.own, guard=read(None, {})))
    assert (await made.ask())[0] == 200
