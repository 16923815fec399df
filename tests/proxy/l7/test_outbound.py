"""Limits, faults, copies, second tries and stickiness, through real sidecars in one loop."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from proxy.l7.settings import Faults, Hedging, Limits, Mirroring, UpstreamSettings
from proxy.source import UpstreamSpec
from tests.proxy.l7.net import GET, SPEC, chain, net, upstreams
from tests.proxy.mesh import Mesh, until

#: What is tested does not depend on the loop.
ONE_LOOP = True

pytestmark = pytest.mark.timeout(60)
POST = b"POST /p HTTP/1.1\r\nHost: db\r\nContent-Length: 3\r\n\r\nabc"


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = Mesh()
    async with made.stack:
        yield made


async def test_requests_over_the_limits_are_refused_and_waiting_ones_get_their_turn(
    mesh: Mesh,
) -> None:
    limits = Limits(connections_max=2, pending_max=1)
    made = await net(mesh, "a", settings=UpstreamSettings(limits=limits))
    app = made.apps["a"]
    app.free.clear()
    asked = [asyncio.get_running_loop().create_task(made.ask()) for _ in range(5)]
    await until(lambda: made.state.admission.overflows == 2, "two are refused", 20)
    await until(lambda: app.active == 2, "two run", 20)
    app.free.set()
    answers = await asyncio.gather(*asked)
    assert Counter(status for status, _, _ in answers) == {200: 3, 503: 2}
    refused = next(headers for status, headers, _ in answers if status == 503)
    assert refused["x-lictor-overloaded"] == "true"
    assert app.most == 2
    admission = made.state.admission
    assert (admission.running, admission.waiting) == (0, 0)


async def test_who_waits_too_long_leaves_no_trace(mesh: Mesh) -> None:
    limits = Limits(connections_max=1)
    made = await net(
        mesh, "a", settings=UpstreamSettings(limits=limits), destination={"RequestTimeout": "300ms"}
    )
    made.apps["a"].free.clear()
    statuses = [status for status, _, _ in await asyncio.gather(*(made.ask() for _ in range(3)))]
    assert set(statuses) <= {503, 504}
    made.apps["a"].free.set()
    admission = made.state.admission
    await until(lambda: admission.running == 0, "all have ended")
    assert admission.waiting == 0
    assert (await made.ask())[0] == 200


async def test_connections_to_a_host_that_is_gone_are_closed_at_once(mesh: Mesh) -> None:
    made = await net(mesh, "a", "b")
    for _ in range(8):
        await made.ask()
    pool = made.web._http._pool
    gone = made.hosts["a"].port
    assert any(key.port == gone for key in pool._idle)
    made.use("b")
    assert not any(key.port == gone for key in pool._idle)
    assert (await made.ask())[2] == b"b"


async def test_a_made_cookie_leads_back_to_the_same_host(mesh: Mesh) -> None:
    policy = {"Field": "cookie", "FieldValue": "lane", "CookieConfig": {"TTL": "60s", "Path": "/"}}
    balancer = {"Policy": "maglev", "HashPolicies": [policy]}
    made = await net(mesh, "a", "b", "c", balancer=balancer)
    policy_now = made.state.hosts["db"].policy
    await until(lambda: policy_now._built, "the table is made", 20)  # type: ignore[attr-defined]
    seen = set()
    for _ in range(8):
        _, headers, first = await made.ask()
        cookie = headers["set-cookie"]
        assert "Max-Age=60; Path=/" in cookie
        back = f"GET / HTTP/1.1\r\nHost: db\r\nCookie: {cookie.partition(';')[0]}\r\n\r\n"
        for _ in range(3):
            _, headers, again = await made.ask(back.encode())
            assert again == first
            assert "set-cookie" not in headers
        seen.add(first)
    assert len(seen) > 1


async def test_a_sticky_split_keeps_a_user_on_one_leg(mesh: Mesh) -> None:
    balancer = {
        "Policy": "ring_hash",
        "HashPolicies": [{"Field": "header", "FieldValue": "x-user"}],
    }
    nodes = {
        "s": {
            "Type": "splitter",
            "LoadBalancer": balancer,
            "Splits": [
                {"Weight": 50, "NextNode": "resolver:db"},
                {"Weight": 50, "NextNode": "resolver:other"},
            ],
        },
        "resolver:other": {
            "Type": "resolver",
            "Resolver": {"Target": "other"},
            "LoadBalancer": balancer,
        },
    }
    made = await net(mesh, "a", "b", balancer=balancer, nodes=nodes, start="s")
    made.use("a")
    made.use("b", target="other")
    legs = {}
    for user in range(12):
        raw = f"GET / HTTP/1.1\r\nHost: db\r\nX-User: {user}\r\n\r\n".encode()
        answers = {(await made.ask(raw))[2] for _ in range(3)}
        assert len(answers) == 1
        legs[user] = answers.pop()
    assert set(legs.values()) == {b"a", b"b"}


async def test_faults_are_made_and_end(mesh: Mesh) -> None:
    soon = time.time() + 3600
    wanted = Faults(delay_s=0.2, abort_status=418, until_at=soon)
    made = await net(mesh, "a", settings=UpstreamSettings(faults=wanted))
    began = time.monotonic()
    status, headers, _ = await made.ask()
    assert (status, headers["x-lictor-fault"]) == (418, "abort")
    assert time.monotonic() - began >= 0.2
    assert not made.apps["a"].seen
    over = replace(wanted, until_at=time.time() - 1)
    made.change(settings={SPEC.key: UpstreamSettings(faults=over)})
    assert (await made.ask())[0] == 200


async def test_a_slow_host_is_answered_for_by_another(mesh: Mesh) -> None:
    settings = UpstreamSettings(balancer="round_robin", hedging=Hedging(after_s=0.1))
    made = await net(mesh, "a", "b", settings=settings)
    made.apps["a"].free.clear()
    for _ in range(4):
        status, _, body = await made.ask()
        assert (status, body) == (200, b"b")
    assert made.state.hedges >= 1
    hosts = made.state.hosts["db"]
    assert (hosts.budget.active, hosts.budget.retrying) == (0, 0)
    assert sum(hosts.policy.active.values()) == 0  # type: ignore[attr-defined]
    before = made.state.hedges
    post = asyncio.get_running_loop().create_task(made.ask(POST))
    other = asyncio.get_running_loop().create_task(made.ask(POST))
    await until(lambda: len(made.apps["a"].seen) > before, "one waits at the slow host", 20)
    made.apps["a"].free.set()
    assert {(await post)[2], (await other)[2]} == {b"a", b"b"}
    assert made.state.hedges == before


async def test_copies_go_to_the_mirror_and_nobody_waits_for_them(mesh: Mesh) -> None:
    until_at = time.time() + 3600
    settings = UpstreamSettings(
        mirroring=Mirroring(upstream="shadow", percent=100, until_at=until_at)
    )
    made = await net(mesh, "a", "b", settings=settings)
    shadow = UpstreamSpec(name="shadow", bind_port=-1, bind_address="127.0.0.2")
    own = mesh.sources["web"].state.own
    assert own is not None
    made.use("a")
    made.change(
        own=replace(own, upstreams=(*upstreams(own), shadow)),
        chains={SPEC.key: chain(), shadow.key: chain(resolver={"Target": "other"})},
    )
    made.use("b", target="other")
    mirrored = made.apps["b"]
    mirrored.free.clear()
    assert (await made.ask(POST))[2] == b"a"
    await until(lambda: len(mirrored.seen) == 1, "the copy has come", 20)
    first, headers, body = mirrored.seen[0]
    assert (first, headers["x-lictor-mirror"], body) == ("POST /p HTTP/1.1", "true", b"abc")
    mirrored.free.set()
    await until(lambda: made.state.mirrored == 1, "the copy is over", 20)
    assert "x-lictor-mirror" not in made.apps["a"].seen[0][1]


async def test_the_next_try_goes_to_whoever_stands_in(mesh: Mesh) -> None:
    made = await net(
        mesh,
        "a",
        "b",
        destination={"NumRetries": 1, "RetryOnStatusCodes": [503]},
        resolver={"Failover": {"Targets": ["other"]}},
    )
    made.use("a")
    made.use("b", target="other")
    made.apps["a"].status = 503
    assert (await made.ask())[2] == b"b"
    made.use(target="db")
    assert (await made.ask())[2] == b"b"


async def test_a_pause_that_a_host_asks_for_is_kept(mesh: Mesh) -> None:
    made = await net(mesh, "a", "b", destination={"NumRetries": 1, "RetryOnStatusCodes": [503]})
    made.apps["a"].status, made.apps["a"].extra = 503, b"Retry-After: 1\r\n"
    made.use("a")
    began = time.monotonic()
    assert (await made.ask())[0] == 503
    assert time.monotonic() - began >= 1.0


async def test_every_instance_of_a_small_group_is_asked_before_one_gives_up(mesh: Mesh) -> None:
    made = await net(mesh, "a", "b", settings=UpstreamSettings(balancer="round_robin"))
    assert {(await made.ask(GET))[2] for _ in range(4)} == {b"a", b"b"}
