"""Reading the configuration anew."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from agent.config.schema import AgentConfig
from agent.errors import ConfigError
from agent.reloading import Reload


class Files:
    """Files that are read by a function."""

    def __init__(self, read: Callable[[], AgentConfig]) -> None:
        self._read = read
        self.read_stamp: object = 0
        self.waiting: list[str] = []
        self.look: Callable[[], object] = lambda: None

    def read(self) -> AgentConfig:
        self.read_stamp = self.look()
        return self._read()

    def taken(self) -> list[str]:
        return self.waiting

    def plan(self) -> dict[str, bool]:
        return {"Valid": True}

    def stamp(self) -> object:
        return self.look()


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

    reload = Reload(Files(read), take_over)
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

    reload = Reload(Files(read), take_over)
    with pytest.raises(ConfigError, match="no such file"):
        await reload.now()
    with caplog.at_level(logging.ERROR):
        await reload.logged()
    assert "Reload config failed, the old configuration stays error=no such file" in caplog.text
    assert not taken


async def test_keys_that_wait_for_a_restart_are_named(caplog: pytest.LogCaptureFixture) -> None:
    async def take_over(config: AgentConfig) -> None:
        pass

    files = Files(lambda: CONFIGS[0])
    files.waiting = ["ports.http"]
    with caplog.at_level(logging.WARNING):
        await Reload(files, take_over).now()
    assert "changed key waits for a restart of the agent key=ports.http" in caplog.text


async def test_files_are_read_once_they_have_changed_and_stay_the_same() -> None:
    stamps = [0, 0, 1, 2, 2, 2, 2, 3, 3, 3]
    at = -1
    taken: list[object] = []
    ended = asyncio.Event()

    def look() -> object:
        nonlocal at
        at += 1
        if at >= len(stamps):
            loop.call_soon_threadsafe(ended.set)
        return stamps[min(at, len(stamps) - 1)]

    async def take_over(config: AgentConfig) -> None:
        taken.append(files.read_stamp)

    loop = asyncio.get_running_loop()
    files = Files(lambda: CONFIGS[0])
    files.look = look
    following = loop.create_task(Reload(files, take_over).follow(look_s=0.001))
    async with asyncio.timeout(20):
        await ended.wait()
    following.cancel()
    assert taken == [2, 3]
