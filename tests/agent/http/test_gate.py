"""Bounds on requests at the door, both ways through the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent.config.http_rules import http_rules
from agent.config.schema import HttpRules
from agent.errors import ConfigError
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


@pytest.mark.parametrize("prompt", [True, False], ids=["prompt", "long"])
async def test_what_the_operator_blocks_is_refused_and_his_headers_are_everywhere(
    prompt: bool,
) -> None:
    rules = HttpRules(
        block_endpoints=("/v1/catalog/nodes", "/v1/kv/hidden/"),
        response_headers={"X-Frame-Options": "DENY"},
    )
    running = await Rig(make_config(http_rules=rules), prompt=prompt).start()
    try:
        async with Client(running.port) as client:
            for path in ("/v1/catalog/nodes", "/v1/kv/hidden/a", "/v1/kv/hidden/b"):
                for _ in range(2):  # the second time it may go the short way
                    got = await client.get(path)
                    assert (got.status, got.text) == (
                        403,
                        "Endpoint is blocked by agent configuration",
                    )
            for path in ("/v1/kv/other", "/v1/catalog/services", "/nowhere", "/"):
                for _ in range(2):
                    got = await client.get(path)
                    assert got.status != 403
                    assert got.headers["x-frame-options"] == "DENY"
    finally:
        await running.stop()


@pytest.mark.parametrize(
    ("networks", "status"),
    [
        ((), 200),
        (("10.0.0.0/8",), 403),
        (("10.0.0.0/8", "127.0.0.0/8"), 200),
        (("::/0",), 403),
    ],
)
@pytest.mark.parametrize("prompt", [True, False], ids=["prompt", "long"])
async def test_only_some_networks_may_write(
    networks: tuple[str, ...], status: int, prompt: bool
) -> None:
    rules = HttpRules(allow_write_http_from=networks)
    running = await Rig(make_config(http_rules=rules), prompt=prompt).start()
    try:
        async with Client(running.port) as client:
            for _ in range(2):
                assert (await client.ask("PUT", "/v1/kv/a", b"1")).status == status
                assert (await client.get("/v1/status/leader")).status == 200
            if status == 403:
                assert (await client.ask("PUT", "/v1/kv/a", b"1")).text == "Access is restricted"
    finally:
        await running.stop()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"allow_write_http_from": ("10.0.0.1/8",)}, "invalid cidr: 10.0.0.1/8"),
        ({"response_headers": {"a": "b\r\nc: d"}}, "'a' is no header"),
        ({"response_headers": {"a b": "c"}}, "'a b' is no header"),
    ],
    ids=["cidr", "line break", "name"],
)
def test_rules_that_are_none_are_told(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        http_rules(fields)
    assert text in str(caught.value)


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


def test_a_token_that_is_no_text_is_an_unknown_one() -> None:
    for headers in ({"X-Consul-Token": "\udcff\udcfe"}, {"Authorization": "Bearer \udcff"}):
        token_of(headers, parse_query("")).encode()  # can be stored, hashed and sent
    assert token_of({"X-Consul-Token": "s\u00e9cret"}, parse_query("")) == "s\u00e9cret"
