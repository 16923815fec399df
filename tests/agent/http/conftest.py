"""A running server and a client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.agent.http.rig import Client, Rig, make_config


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    running = await Rig(make_config()).start()
    try:
        yield running
    finally:
        await running.stop()


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[Client]:
    async with Client(rig.port) as connected:
        yield connected
