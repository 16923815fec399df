"""Runs what `exec` asks of this agent, where the operator allows it (`disable_remote_exec`).

Whoever may write below `_rexec/` in the key-value store runs commands as the agent's user: that is
why it is off until the configuration says otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.backend import Ask, Backend
from agent.errors import AgentError
from agent.events.remote import (
    NOT_RUN,
    OUTPUT_BYTES,
    Job,
    Place,
    RemoteError,
    read_job,
    read_payload,
)
from agent.local.programs import Programs
from agent.tasks import TaskOwner
from raftstore.commands import KVLock, Rejected
from raftstore.errors import StoreError
from raftstore.queries import KVGet

log = logging.getLogger("lictor.agent.exec")

#: Output is gathered for so many seconds before it is told.
GATHER_S = 0.2
_CUT = b"\n[output cut: limits.remote_exec_output_max is reached]\n"


@dataclass(slots=True)
class ExecStats:
    """Counters since start, and what runs now."""

    running_current: int = 0
    run: int = 0
    failed: int = 0
    refused: int = 0


class _SilentError(Exception):
    """The session has gone: nobody listens any more."""


class RemoteExec:
    """All commands that others run here."""

    def __init__(self, backend: Backend, *, node: str, running_max: int, output_max: int) -> None:
        """At most ``running_max`` run at a time; of each, ``output_max`` bytes are told."""
        self._backend = backend
        self._node = node
        self._running_max = running_max
        self._output_max = output_max
        self._owner = TaskOwner()
        self._programs = Programs()
        self._stats = ExecStats()

    def asked(self, payload: bytes) -> None:
        """An event asks for a command."""
        if self._stats.running_current >= self._running_max:
            self._stats.refused += 1
            log.warning("remote exec refused reason=limits.remote_exec_max is reached")
            return
        self._owner.spawn(self._take(payload), name="remote exec")

    async def close(self) -> None:
        """End what runs."""
        await self._owner.close()
        await self._programs.close()

    def stats(self) -> ExecStats:
        """Counters up to now."""
        return self._stats

    async def _take(self, payload: bytes) -> None:
        self._stats.running_current += 1
        try:
            place = read_payload(payload)
            job = await self._job(place)
            log.info("remote exec started session=%s", place.session)
            await self._write(place, place.ack(self._node), b"")
            code = await self._run(place, job)
            self._stats.run += 1
            await self._write(place, place.exit(self._node), str(code).encode())
            log.info("remote exec ended session=%s status=%d", place.session, code)
        except (RemoteError, AgentError, StoreError, _SilentError) as error:
            self._stats.failed += 1
            log.error("remote exec failed error=%s", error)
        finally:
            self._stats.running_current -= 1

    async def _job(self, place: Place) -> Job:
        """What to run. Raises RemoteError, also when it was begun here before: once is enough."""
        found = await self._backend.ask(KVGet(key=place.job), Ask())
        if found.value is None:
            raise RemoteError("its job is not there")
        begun = await self._backend.ask(KVGet(key=place.ack(self._node)), Ask())
        if begun.value is not None:
            raise RemoteError("it was begun here before")
        return read_job(found.value.value)

    async def _write(self, place: Place, key: str, value: bytes) -> None:
        """Write what goes with the session. Raises _SilentError."""
        outcome = await self._backend.change(KVLock(key=key, session=place.session, value=value))
        if isinstance(outcome, Rejected) or outcome.value is not True:
            raise _SilentError(f"the session does not take {key}")

    async def _run(self, place: Place, job: Job) -> int:
        """Run the job and tell what it prints; gives its status."""
        with _words(job) as words:
            try:
                async with self._programs.run(*words) as process:
                    await self._tell(place, process, job.wait_s)
                    return await process.wait()
            except (OSError, ValueError) as error:
                await self._write(place, place.output(self._node, 0), str(error).encode())
                return NOT_RUN

    async def _tell(
        self, place: Place, process: asyncio.subprocess.Process, silence_s: float
    ) -> None:
        """Pieces of output as they come, empty ones in silence, until there is no more.

        A command goes on when nobody listens any more: it may be in the middle of something.
        """
        assert process.stdout is not None
        told, number, heard = 0, 0, True
        while (piece := await _piece(process.stdout, silence_s)) is not None:
            if told > self._output_max or not heard:
                continue
            told += len(piece)
            if told > self._output_max:
                piece = _CUT
            try:
                await self._write(place, place.output(self._node, number), piece)
            except _SilentError as error:
                log.warning("remote exec is not listened to any more error=%s", error)
                heard = False
            number += 1


async def _piece(stdout: asyncio.StreamReader, silence_s: float) -> bytes | None:
    """The next piece of output: empty after a silence, None at the end.

    What comes within a moment goes into one piece: each costs the servers a write.
    """
    piece = b""
    try:
        async with asyncio.timeout(silence_s):
            piece = await stdout.read(OUTPUT_BYTES)
            if not piece:
                return None
        async with asyncio.timeout(GATHER_S):
            while len(piece) < OUTPUT_BYTES:
                more = await stdout.read(OUTPUT_BYTES - len(piece))
                if not more:
                    break
                piece += more
    except TimeoutError:
        pass
    return piece


@contextlib.contextmanager
def _words(job: Job) -> Iterator[tuple[str, ...]]:
    """The words that run a job; a script is a file meanwhile."""
    if not job.script:
        yield job.args or ("/bin/sh", "-c", job.command)
        return
    with tempfile.TemporaryDirectory(prefix="rexec") as folder:
        path = Path(folder) / "script"
        path.write_bytes(job.script)
        path.chmod(0o700)
        yield (str(path),)
