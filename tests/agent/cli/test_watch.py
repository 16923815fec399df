"""`watch` as a process: bad words, a command that is ended, news that keep coming."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from raftstore.commands import KVSet
from tests.agent.http.rig import Rig, make_config

PROGRAM = Path(sys.executable).parent / "lictor"
WITHIN_S = 30.0


async def start(url: str, *words: str) -> Process:
    return await asyncio.create_subprocess_exec(
        PROGRAM, "watch", f"-http-addr={url}", *words, stdout=PIPE, stderr=PIPE
    )


async def ended(process: Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(WITHIN_S):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def next_line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(WITHIN_S):
        return (await process.stdout.readline()).decode()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    running = await Rig(make_config()).start()
    yield running
    await running.stop()


async def test_a_command_runs_on_each_change_until_a_signal_comes(rig: Rig) -> None:
    await rig.backend.change(KVSet(key="k", value=b"one"))
    line = "cat; echo $CONSUL_INDEX"
    process = await start(rig.url, "-type=key", "-key=k", line)
    assert '"Value":"b25l"' in await next_line(process)
    first = int(await next_line(process))
    await rig.backend.change(KVSet(key="k", value=b"two"))
    assert '"Value":"dHdv"' in await next_line(process)
    assert int(await next_line(process)) > first
    process.send_signal(signal.SIGTERM)
    assert await ended(process) == (0, "", "")


async def test_a_command_that_runs_is_ended_with_the_watch(rig: Rig) -> None:
    words = ("-type=nodes", "-shell=false", "/bin/sh", "-c")
    script = "trap 'echo asked; exit 0' TERM; echo begun; while :; do sleep 0.05; done"
    process = await start(rig.url, *words, script)
    assert await next_line(process) == "begun\n"
    process.send_signal(signal.SIGINT)
    assert await ended(process) == (0, "asked\n", "")


async def test_a_command_that_is_being_started_is_ended_too(rig: Rig) -> None:
    """The request to stop comes from the command itself, so it is there before we know of it."""
    script = "trap 'echo asked; exit 0' TERM; kill -INT $PPID; while :; do sleep 0.05; done"
    process = await start(rig.url, "-type=nodes", "-shell=false", "/bin/sh", "-c", script)
    assert await ended(process) == (0, "asked\n", "")


async def test_a_command_that_fails_ends_the_watch(rig: Rig) -> None:
    process = await start(rig.url, "-type=nodes", "exit 3")
    assert await ended(process) == (1, "", "Error executing handler: exit status 3\n")
    process = await start(rig.url, "-type=nodes", "-shell=false", "/no/such/program")
    status, _, err = await ended(process)
    assert (status, err.startswith("Error starting handler: /no/such/program: ")) == (1, True)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "Watch type must be specified"),
        (("-type=bad",), "Unsupported watch type: bad"),
        (("-type=service",), "Must specify a single service to watch"),
        (("-type=nodes", "-key=a"), "Invalid parameters: [key]"),
        (("-type=nodes", "-passingonly=x"), "Failed to parse passing only flag"),
        (("-type=nodes",), "Error querying Lictor agent: "),
    ],
    ids=["no type", "type", "service", "needless", "passingonly", "nobody there"],
)
async def test_what_cannot_be_watched_is_told(words: tuple[str, ...], text: str) -> None:
    status, out, err = await ended(await start("http://127.0.0.1:1", *words))
    assert (status, out) == (1, "")
    assert err.startswith(text)
