"""Who answers in a ring, and whose clock is off: real members, and the arithmetic of bounds."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.explain.ring import answer_clock, clock_off_s, explain_ring
from tests.gossip.rings import Watched, eventually, quick


@given(st.floats(1e9, 2e9), st.floats(0, 10), st.floats(0, 1), st.floats(-1e4, 1e4))
def test_a_clock_is_never_called_more_off_than_it_is(
    asked_at: float, took_s: float, when: float, off_s: float
) -> None:
    there = asked_at + when * took_s + off_s
    found = clock_off_s(asked_at, asked_at + took_s, f"{there:.6f}".encode())
    assert found is not None
    assert abs(found) <= abs(off_s) + 1e-5
    assert found * off_s >= 0 or abs(found) < 1e-5
    assert abs(found) >= abs(off_s) - took_s - 1e-5


def test_what_is_no_time_says_nothing() -> None:
    assert clock_off_s(1, 2, b"x") is None
    assert answer_clock("another", 1.0) is None


@asynccontextmanager
async def running(name: str, **options: Any) -> AsyncIterator[Watched]:
    member = Watched(quick(name), **options)
    await member.gossip.start()
    try:
        yield member
    finally:
        await member.gossip.stop()


async def test_members_are_heard_and_a_wrong_clock_is_found() -> None:
    def told(off_s: float) -> Any:
        async def answer(query: str, payload: bytes) -> bytes | None:
            return answer_clock(query, time.time() + off_s)

        return answer

    async with AsyncExitStack() as stack:
        asking = await stack.enter_async_context(running("asking"))
        for name, options in (
            ("right", {"on_query": told(0.0)}),
            ("ahead", {"on_query": told(3600.0)}),
            ("other-kind", {}),
        ):
            each = await stack.enter_async_context(running(name, **options))
            await each.gossip.join([asking.address])
        await eventually(lambda: len(asking.gossip.members()) == 4, "all are known")
        found: Any = {}
        for _ in range(5):  # a busy machine may answer one query too late
            found = await explain_ring(asking.gossip, time.time)
            if found["Heard"] == 3:
                break
        assert (found["Node"], found["Asked"], found["Heard"]) == ("asking", 3, 3)
        by_name = {member["Name"]: member for member in found["Members"]}
        assert by_name["right"]["ClockOff_s"] == 0.0
        assert 3590 < by_name["ahead"]["ClockOff_s"] <= 3600
        assert by_name["other-kind"]["ClockOff_s"] is None
        assert found["Members"][0]["Name"] == "ahead"


async def test_a_ring_of_one_asks_nobody() -> None:
    async with running("alone") as alone:
        found: Any = await explain_ring(alone.gossip, time.time)
    assert (found["Asked"], found["Heard"], found["Members"]) == (0, 0, [])
