"""Owned tasks end with their owner, and their errors are heard."""

from __future__ import annotations

import asyncio
import logging

import pytest

from agent import tasks
from agent.tasks import TaskOwner, when_ended


async def test_closing_the_owner_ends_its_tasks() -> None:
    owner = TaskOwner()
    task = owner.spawn(asyncio.Event().wait(), name="waits for ever")
    await owner.close()
    assert task.cancelled()
    assert len(owner) == 0


async def test_who_swallows_a_cancellation_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_S", 0.01)

    async def deaf() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    owner = TaskOwner()
    task = owner.spawn(deaf(), name="deaf")
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await owner.close()
    assert task.cancelled()


async def test_an_error_nobody_awaits_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("lost?")

    owner = TaskOwner()
    with caplog.at_level(logging.ERROR, "lictor.agent.tasks"):
        task = owner.spawn(fail(), name="fails")
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert "task failed name=fails" in caplog.text


async def test_an_error_somebody_awaits_is_theirs(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("mine")

    owner = TaskOwner()
    with pytest.raises(ValueError, match="mine"):
        await owner.spawn(fail(), name="fails", awaited=True)
    assert not caplog.records


async def test_a_task_that_never_began_is_told_of_too():
    owner, told = TaskOwner(), []

    async def work(result):
        return result

    for result in (1, ValueError("2")):
        when_ended(owner.spawn(work(result), name="t"), told.append, stopped=KeyError("stopped"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert told[0] == 1 and isinstance(told[1], ValueError)
    when_ended(owner.spawn(work(3), name="t"), told.append, stopped=KeyError("stopped"))
    await owner.close()
    await asyncio.sleep(0)
    assert isinstance(told[2], KeyError)
