"""Whose token goes along is that of then, also for what goes on later."""

from __future__ import annotations

import asyncio

import pytest

from agent.backend.acting import ACTING, on_behalf
from agent.tasks import TaskOwner


async def test_a_task_that_was_begun_on_somebodys_behalf_goes_on_so() -> None:
    begun = asyncio.Event()

    async def later() -> str | None:
        await begun.wait()
        return ACTING.get()

    owner = TaskOwner()
    with on_behalf("one"), on_behalf("two"):
        task = owner.spawn(later(), name="later")
    assert ACTING.get() is None
    begun.set()
    assert await task == "two"
    await owner.close()


def test_what_fails_leaves_nobodys_token_behind() -> None:
    with pytest.raises(ValueError, match="x"), on_behalf("one"):
        raise ValueError("x")
    assert ACTING.get() is None
