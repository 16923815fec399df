"""Tests of the byte path run on both loops: uvloop is what sidecars use, asyncio the measure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from tests.proxy.mesh import Mesh
from tests.proxy.test_api_source import Agent


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give every asynchronous test of this folder both loops, but those of files that say that
    theirs makes no difference (``ONE_LOOP``)."""
    both = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    if getattr(getattr(item, "module", None), "ONE_LOOP", False):
        del both["asyncio"]
    return both


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    made = Agent()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = Mesh()
    async with made.stack:
        yield made
