"""Settings about reads and paths: stale discovery, characters that cannot be printed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.backend import Consistency
from agent.http.params import ask_options, parse_query
from tests.agent.http.rig import Client, Rig, make_config


@asynccontextmanager
async def served(**config: Any) -> AsyncIterator[Client]:
    rig = await Rig(make_config(**config)).start()
    try:
        async with Client(rig.port) as client:
            yield client
    finally:
        await rig.stop()


async def test_characters_that_cannot_be_printed_are_let_in_where_that_is_wanted() -> None:
    async with served() as client:
        assert (await client.put("/v1/kv/a%01b", 1)).status == 400
    async with served(http_any_char=True) as client:
        assert (await client.put("/v1/kv/a%01b", 1)).json is True
        assert (await client.get("/v1/kv/?keys")).json == ["a\x01b"]


@pytest.mark.parametrize(
    ("path", "effective"),
    [
        ("/v1/catalog/nodes", "stale"),
        ("/v1/health/service/web", "stale"),
        ("/v1/health/service/web?leader", "leader"),
        ("/v1/health/service/web?consistent", "consistent"),
        ("/v1/catalog/nodes?pretty", "stale"),
        ("/v1/query", "leader"),
    ],
)
async def test_discovery_may_be_stale_unless_another_mode_is_named(
    path: str, effective: str
) -> None:
    async with served(discovery_max_stale_s=5.0) as client:
        got = await client.get(path)
        assert got.headers["x-consul-effective-consistency"] == effective


def test_the_age_of_stale_discovery_is_bounded() -> None:
    def asked(query: str) -> tuple[Consistency, float | None]:
        ask = ask_options(
            parse_query(query), "", default_s=1, max_s=1, rng=random.Random(0), stale_s=5.0
        )
        return ask.consistency, ask.max_stale_s

    assert asked("") == (Consistency.STALE, 5.0)
    assert asked("max_stale=9s") == (Consistency.STALE, 9.0)
    assert asked("stale") == (Consistency.STALE, None)
