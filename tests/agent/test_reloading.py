"""Reading the configuration anew."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from agent.config.schema import AgentConfig
from agent.errors import ConfigError
from agent.reloading import Reload

CONFIGS = [AgentConfig(node_name=f"n{number}") for number in range(3)]


async def test_it_is_read_in_a_thread_and_taken_over_one_after_the_other() -> None:
    begun, go_on = threading.Event(), threading.Event()
    left = list(CONFIGS)
    taken: list[str] = []

    def read() -> AgentConfig:
        assert threading.current_thread() is not threading.main_thread()
        begun.set()
        assert go_on.wait(10)
        return left.pop(0)

    async def take_over(config: AgentConfig) -> None:
        await asyncio.sleep(0)
        taken.append(config.node_name)

    reload = Reload(read, take_over)
    async with asyncio.TaskGroup() as group:
        for _ in CONFIGS:
            group.create_task(reload.now())
        while not begun.is_set():
            await asyncio.sleep(0.001)  # the loop turns while a file is read
        go_on.set()
    assert taken == ["n0", "n1", "n2"]


async def test_an_error_is_told_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    taken: list[AgentConfig] = []

    def read() -> AgentConfig:
        raise ConfigError("no such file")

    async def take_over(config: AgentConfig) -> None:
        taken.append(config)

    reload = Reload(read, take_over)
    with pytest.raises(ConfigError, match="no such file"):
        await reload.now()
    with caplog.at_level(logging.ERROR):
        await reload.logged()
    assert "reload failed, keeping the old configuration error=no such file" in caplog.text
    assert not taken
