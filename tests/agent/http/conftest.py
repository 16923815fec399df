"""A running server and a client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.agent.http.rig import Client, Rig, make_config


@pytest.fixture(params=[True, False], ids=["prompt", "long"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """A server; every test goes both ways through it."""
    running = await Rig(make_config(), prompt=request.param).start()
    try:
        yield running
    finally:
        await running.stop()


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[Client]:
    async with Client(rig.port) as connected:
        yield connected
