"""A client agent hears of restores."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agent.backend import Ask, Reply
from agent.errors import ForwardError
from agent.local.restores import follow_restores
from raftstore.queries import Query
from raftstore.records import Restored, RestoreView
from tests.agent.backend.servers import until


def restored(index: int) -> Restored:
    return Restored(
        id="r", saved_index=1, saved_cluster="c", parts=1, staged_bytes=1, begun_index=1,
        begun_at=0.0, index=index,
    )  # fmt: skip


class Answers:
    """A backend that answers as it is told, or blocks."""

    def __init__(self, *replies: tuple[int, int] | Exception) -> None:
        """(index of the answer, index of the last restore)."""
        self._replies = list(replies)
        self.asked: list[int] = []

    async def ask(self, query: Query[Any], options: Ask) -> Reply[RestoreView]:
        self.asked.append(options.min_index)
        if not self._replies:
            await asyncio.Event().wait()
        reply = self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        index, last = reply
        return Reply(value=RestoreView(last=restored(last) if last else None), index=index)


Follow = Callable[[Answers], list[int]]


@pytest.fixture
async def follow() -> AsyncIterator[Follow]:
    tasks: list[asyncio.Task[None]] = []

    def begin(answers: Any) -> list[int]:
        told: list[int] = []
        work = follow_restores(
            answers, lambda: told.append(len(answers.asked)), rng=random.Random(1), retry_s=0.01
        )
        tasks.append(asyncio.get_running_loop().create_task(work))
        return told

    yield begin
    for task in tasks:
        assert not task.done()
        task.cancel()


async def test_each_restore_is_told_but_not_what_was_before(follow: Follow) -> None:
    answers = Answers((5, 3), (5, 3), (9, 9), (12, 12))
    told = follow(answers)
    await until(lambda: len(answers.asked) == 5)
    assert answers.asked == [0, 5, 5, 9, 12]
    assert told == [3, 4]


async def test_the_first_restore_of_a_cluster_is_told(follow: Follow) -> None:
    answers = Answers((1, 0), (7, 7))
    told = follow(answers)
    await until(lambda: len(answers.asked) == 3)
    assert told == [2]


async def test_a_server_that_lags_behind_makes_no_news(follow: Follow) -> None:
    answers = Answers((9, 9), (1, 0), (9, 9))
    told = follow(answers)
    await until(lambda: len(answers.asked) == 4)
    assert answers.asked == [0, 9, 0, 9]
    assert told == []


async def test_a_failure_is_tried_again(follow: Follow) -> None:
    answers = Answers((1, 0), ForwardError("gone", definite=False), (7, 7))
    told = follow(answers)
    await until(lambda: len(answers.asked) == 4)
    assert told == [3]
