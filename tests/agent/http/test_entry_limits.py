"""Bounds on requests that config entries set on every agent."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest

from agent.http.entry_limits import KIND, follow, limits_of
from agent.quotas import RequestLimits
from raftstore.definition_commands import DeleteConfigEntry, SetConfigEntry
from raftstore.definitions import ConfigEntry
from tests.agent.http.rig import Client, Rig, StateBackend, make_config


def entry(name: str = "all", **content: Any) -> ConfigEntry:
    return ConfigEntry(kind=KIND, name=name, content=content)


@pytest.mark.parametrize(
    ("entries", "wanted"),
    [
        ([], ("disabled", -1, -1)),
        ([entry(Mode="enforcing", ReadRate=5)], ("enforcing", 5, -1)),
        ([entry(Mode="enforcing", ReadRate=0, WriteRate=2.5)], ("enforcing", -1, 2.5)),
        ([entry(Mode="disabled", ReadRate=5)], ("disabled", -1, -1)),
        (
            [entry(Mode="permissive", ReadRate=5), entry("b", Mode="enforcing", ReadRate=9)],
            ("enforcing", 5, -1),
        ),
        ([entry(Mode="permissive", WriteRate="x")], ("permissive", -1, -1)),
        ([ConfigEntry(kind=KIND, name="x", content=None)], ("disabled", -1, -1)),
    ],
)
def test_what_entries_come_to(entries: list[ConfigEntry], wanted: tuple[str, int, int]) -> None:
    found = limits_of(entries)
    assert (found.mode, found.client_read_rate, found.client_write_rate) == wanted
    assert (found.read_rate, found.token_read_rate) == (-1, -1)


async def test_entries_are_followed() -> None:
    backend, told = StateBackend(), asyncio.Queue[RequestLimits]()
    following = asyncio.create_task(  # noqa: TID251
        follow(backend, told.put_nowait, rng=random.Random(1), retry_s=0.01)
    )
    backend.apply(SetConfigEntry(entry(Mode="enforcing", WriteRate=7)), None)
    assert (await asyncio.wait_for(told.get(), 10)).client_write_rate == 7
    backend.apply(DeleteConfigEntry(KIND, "all"), None)
    assert await asyncio.wait_for(told.get(), 10) == RequestLimits()
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following


@pytest.mark.parametrize("prompt", [True, False], ids=["prompt", "long"])
async def test_a_client_over_the_bound_is_refused_and_another_time_let_in(prompt: bool) -> None:
    rig = await Rig(make_config(), prompt=prompt).start()
    try:
        async with Client(rig.port) as client:
            assert (await client.ask("PUT", "/v1/kv/a", b"1")).status == 200
            limits = limits_of([entry(Mode="enforcing", ReadRate=2)])
            rig.context.entry_quotas.change(limits)
            statuses = [(await client.get("/v1/kv/a")).status for _ in range(3)]
            assert statuses == [200, 200, 429]
            assert (await client.get("/v1/operator/raft/configuration")).status == 200
            rig.context.entry_quotas.change(limits_of([]))
            assert (await client.get("/v1/kv/a")).status == 200
    finally:
        await rig.stop()
