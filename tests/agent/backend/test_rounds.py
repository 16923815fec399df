"""A read uses only rounds that began after it; reads share rounds; nobody is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from agent.backend.rounds import ReadRounds
from agent.errors import NoClusterLeader
from agent.tasks import TaskOwner


class Leader:
    """Confirms rounds when it is told to."""

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[None]] = []

    async def catch_up(self) -> None:
        self.asked.append(asyncio.get_running_loop().create_future())
        await self.asked[-1]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_reads_of_one_turn_share_a_round_and_late_ones_take_the_next() -> None:
    leader, heard = Leader(), []
    rounds = ReadRounds(leader.catch_up, TaskOwner())
    for name in "abc":
        rounds.join(lambda error, name=name: heard.append((name, error)))
    await turns()
    assert len(leader.asked) == 1
    for name in "de":
        rounds.join(lambda error, name=name: heard.append((name, error)))
    await turns()
    assert len(leader.asked) == 1  # they wait for the round that is on its way
    leader.asked[0].set_result(None)
    await turns()
    assert heard == [("a", None), ("b", None), ("c", None)]
    assert len(leader.asked) == 2
    leader.asked[1].set_result(None)
    await turns()
    assert heard[3:] == [("d", None), ("e", None)]


async def test_a_round_that_takes_long_does_not_hold_up_the_next() -> None:
    leader, heard = Leader(), []
    rounds = ReadRounds(leader.catch_up, TaskOwner())
    rounds.join(lambda error: heard.append("stuck"))
    await turns()
    rounds.join(lambda error: heard.append("next"))
    async with asyncio.timeout(5):
        while len(leader.asked) < 2:
            await asyncio.sleep(0.001)
    leader.asked[1].set_result(None)
    await turns()
    assert heard == ["next"]
    leader.asked[0].set_result(None)
    await turns()
    assert heard == ["next", "stuck"]


async def test_a_failed_round_fails_its_reads_and_no_others() -> None:
    leader = Leader()
    rounds = ReadRounds(leader.catch_up, TaskOwner())
    loop = asyncio.get_running_loop()
    first = loop.create_task(rounds.fresh())
    await turns()
    second = loop.create_task(rounds.fresh())
    await turns()
    leader.asked[0].set_exception(NoClusterLeader())
    with pytest.raises(NoClusterLeader):
        await first
    await turns()
    leader.asked[1].set_result(None)
    await second


async def test_at_the_end_everybody_is_told() -> None:
    leader, heard = Leader(), []
    owner = TaskOwner()
    rounds = ReadRounds(leader.catch_up, owner)
    rounds.join(heard.append)
    await turns()
    rounds.join(heard.append)
    rounds.close()
    await owner.close()
    rounds.join(heard.append)
    assert [type(each) for each in heard] == [NoClusterLeader] * 3
