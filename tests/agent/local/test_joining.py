"""Joining: what is fatal, what is tried again."""

from __future__ import annotations

from collections.abc import Sequence

from agent.config.schema import AgentConfig
from agent.local.joining import JoinPlan, join_all, lan_plan, wan_plan
from gossip import JoinResult


class Ring:
    """Answers joins from a script, and remembers who was asked for."""

    def __init__(self, *results: int) -> None:
        self.results = list(results)
        self.asked: list[tuple[str, ...]] = []

    async def join(self, addresses: Sequence[str]) -> JoinResult:
        self.asked.append(tuple(addresses))
        joined = self.results.pop(0)
        return JoinResult(joined, () if joined else ((addresses[0], "refused"),))


def plan(**changes: object) -> JoinPlan:
    config = AgentConfig(
        node_name="n",
        retry_interval_s=0.001,
        **changes,  # type: ignore[arg-type]
    )
    return lan_plan(config)


async def test_nothing_to_join_is_fine() -> None:
    ring = Ring()
    assert await join_all(plan(), ring.join)
    assert not ring.asked


async def test_a_failed_start_join_is_fatal() -> None:
    assert not await join_all(plan(start_join=("a",)), Ring(0).join)


async def test_retry_join_is_tried_until_it_works() -> None:
    ring = Ring(0, 0, 1)
    assert await join_all(plan(retry_join=("a", "b")), ring.join)
    assert ring.asked == [("a", "b")] * 3


async def test_retry_max_ends_it() -> None:
    ring = Ring(0, 0, 0)
    assert not await join_all(plan(retry_join=("a",), retry_max=3), ring.join)
    assert not ring.results


def test_each_pool_has_a_plan_of_its_own() -> None:
    config = AgentConfig(
        node_name="n",
        retry_join=("a",),
        retry_join_wan=("b",),
        start_join_wan=("c",),
        retry_interval_wan_s=2.0,
        retry_max_wan=4,
    )
    assert lan_plan(config) == JoinPlan(retry=("a",))
    assert wan_plan(config) == JoinPlan(
        start=("c",), retry=("b",), retry_interval_s=2.0, retry_max=4
    )
