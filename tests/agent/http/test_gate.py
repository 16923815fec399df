"""Bounds on requests at the door, both ways through the server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agent.http.gate import token_of
from agent.http.params import parse_query
from agent.quotas import Quotas, RequestLimits
from tests.agent.http.rig import Client, Rig, make_config


@pytest.fixture(params=[True, False], ids=["prompt", "long"])
async def bounded(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    limits = RequestLimits(mode="enforcing", read_rate=0.01, write_rate=0.01, client_read_rate=3)
    rig = Rig(make_config(), prompt=request.param, quotas=Quotas(limits))
    running = await rig.start()
    try:
        yield running
    finally:
        await running.stop()


async def test_one_too_many_is_told_when_to_come_back(bounded: Rig) -> None:
    async with Client(bounded.port) as client:
        first = await client.ask("PUT", "/v1/kv/a", b"1")
        assert (first.status, first.body) == (200, b"true")
        got = await client.ask("PUT", "/v1/kv/a", b"2")
        assert got.status == 429
        assert got.text == ("rate limit exceeded, try again later or against a different server")
        assert got.headers["retry-after"] == "60"
        assert got.headers["x-consul-default-acl-policy"] == "allow"
        assert (await client.ask("GET", "/v1/kv/a")).json[0]["Value"] == "MQ=="
        for _ in range(2):
            assert (await client.ask("GET", "/v1/kv/a?stale")).status == 429
    stats = bounded.context.quotas.stats()
    assert (stats.refused["write"], stats.refused["read"]) == (1, 2)


async def test_who_looks_after_the_cluster_gets_in(bounded: Rig) -> None:
    async with Client(bounded.port) as client:
        for _ in range(6):
            assert (await client.get("/v1/status/leader")).status == 200
            assert (await client.get("/v1/operator/raft/configuration")).status == 200


async def test_requests_about_the_agent_alone_count_for_their_client(bounded: Rig) -> None:
    async with Client(bounded.port) as client:
        statuses = [(await client.get("/v1/agent/services")).status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]


@pytest.mark.parametrize(
    ("headers", "query", "token"),
    [
        ({}, "", ""),
        ({"X-Consul-Token": "h", "Authorization": "Bearer b"}, "token=q", "q"),
        ({"X-Consul-Token": "h", "Authorization": "Bearer b"}, "token=", "h"),
        ({"Authorization": "bEaReR b c"}, "", "b"),
        ({"Authorization": "Basic b"}, "", ""),
        ({"Authorization": "Bearer"}, "", ""),
    ],
    ids=["none", "query", "header", "bearer", "basic", "no bearer"],
)
def test_the_token_is_found_where_consul_looks(
    headers: dict[str, str], query: str, token: str
) -> None:
    assert token_of(headers, parse_query(query)) == token
