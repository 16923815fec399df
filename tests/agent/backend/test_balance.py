"""Agents spread over the servers again after all had moved to one."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from agent.backend import balance
from agent.backend.balance import INTERVAL_S, keep_balance, wait_s
from agent.backend.servers import ServerAddress, Servers

THREE = [ServerAddress(f"id{n}", f"s{n}", f"10.0.0.{n}", 8300) for n in range(3)]


def test_after_a_restart_of_all_the_load_is_spread_again() -> None:
    chosen: Counter[str] = Counter()
    for seed in range(300):
        servers = Servers(random.Random(seed))
        servers.update(THREE)
        for server in THREE:  # restarted one after the other
            if servers.preferred() == server:
                servers.failed(server)
        servers.shuffle()
        preferred = servers.preferred()
        assert preferred is not None and len(servers.all()) == 3
        chosen[preferred.name] += 1
    assert min(chosen.values()) > 70


@pytest.mark.parametrize(
    ("members", "least"),
    [(3, INTERVAL_S), (1000, INTERVAL_S), (192 * 600, 600.0)],
    ids=["few", "many", "very many"],
)
def test_a_large_cluster_chooses_more_slowly(members: int, least: float) -> None:
    waits = [wait_s(members, 3, random.Random(seed)) for seed in range(100)]
    assert least <= min(waits) < max(waits) <= least * 1.5
    assert max(waits) - min(waits) > least * 0.4


async def test_it_goes_on_choosing(monkeypatch) -> None:
    monkeypatch.setattr(balance, "INTERVAL_S", 0.001)
    servers = Servers(random.Random(1))
    servers.update(THREE)
    seen = set()
    task = asyncio.ensure_future(keep_balance(servers, lambda: 3, random.Random(2)))  # noqa: TID251
    async with asyncio.timeout(10):
        while len(seen) < 3:
            seen.add(servers.preferred())
            await asyncio.sleep(0.001)
    task.cancel()
