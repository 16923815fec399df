"""Programs that do not outlive whoever wanted them to run.

Each has a process group of its own. Whoever is cancelled, in the middle of the start too, leaves no
process behind: the start is waited for, the whole group is killed, its status is collected.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping

#: A program that was killed has ended, and let go of its output, within so many seconds.
END_S = 2.0


class Programs:
    """Starts programs, and sees to it that they end."""

    __slots__ = ("_endings",)

    def __init__(self) -> None:
        self._endings: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def run(
        self, *words: str, with_input: bool = False, env: Mapping[str, str] | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A program, with what it prints on one pipe. Raises OSError and ValueError.

        Left with an error, or before the program has ended, its group is killed.
        """
        loop = asyncio.get_running_loop()
        # A start that is cut short would leave its pipes open and its program running.
        starting = loop.create_task(
            asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.PIPE if with_input else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=env,
                start_new_session=True,
            ),
            name="program's start",
        )
        whole = False
        try:
            process = await asyncio.shield(starting)
            yield process
            whole = process.returncode is not None
        finally:
            if not whole:
                # A second request to end must not leave it half ended either.
                ending = loop.create_task(_end(starting), name="program's end")
                self._endings.add(ending)
                ending.add_done_callback(self._endings.discard)
                await asyncio.shield(ending)

    async def close(self) -> None:
        """Wait for the ends of programs that were cut short."""
        if self._endings:
            await asyncio.wait(self._endings)


async def _end(starting: asyncio.Task[asyncio.subprocess.Process]) -> None:
    try:
        process = await starting
    except (OSError, ValueError):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # To the end of its output, so that the pipe is closed; others may hold it open.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_S):
            await process.communicate()
