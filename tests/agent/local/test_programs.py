"""Programs that are cut short, at every moment of their start too, leave nothing behind."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from agent.local.programs import Programs
from tests.agent.local.parts import until


def living(mark: str) -> list[str]:
    """The processes whose command line has the mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("turns", range(12))
async def test_cancelled_at_any_turn_of_the_loop_none_is_left(turns: int) -> None:
    programs, mark = Programs(), uuid.uuid4().hex

    async def wait() -> None:
        async with programs.run("/bin/sh", "-c", f"sleep 600; : {mark}") as process:
            await process.wait()

    task = asyncio.get_running_loop().create_task(wait())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # whoever ends asks again
    await asyncio.gather(task, return_exceptions=True)
    await programs.close()
    await until(lambda: not living(mark))


async def test_a_program_that_ends_by_itself_is_left_alone() -> None:
    programs = Programs()
    async with programs.run("/bin/cat", with_input=True) as process:
        said, _ = await process.communicate(b"hello")
    assert (said, process.returncode) == (b"hello", 0)
    await programs.close()


async def test_one_that_cannot_start_says_so() -> None:
    with pytest.raises(FileNotFoundError):
        async with Programs().run("/no/such/program"):
            pass


async def test_who_leaves_early_ends_it() -> None:
    programs, mark = Programs(), uuid.uuid4().hex
    async with programs.run("/bin/sh", "-c", f"sleep 600; : {mark}"):
        assert living(mark)
    assert not living(mark)
