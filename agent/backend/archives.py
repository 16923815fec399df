"""Saves the state as an archive and restores one: what an operator's snapshot commands come to.

Saving on a server: its state is made no older than the request (unless any age will do), a snapshot
of the log is taken, and a thread makes an archive of it. Restoring: the archive is checked by a
process of its own, then its parts go through the log one by one, and one last command puts them in
force on every server at the same index. Any server can do both; other agents have one do it.

Whatever fails before the last command has changed nothing, and the error says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol

from agent.errors import ForwardError, RequestError
from agent.tasks import TaskOwner
from raftstore.commands import BeginRestore, Command, EndRestore, Rejected, StageRestore
from raftstore.errors import StoreError
from raftstore.records import Actor

if TYPE_CHECKING:
    from agent.backend.local import LocalBackend
    from raftstore.store import Store

log = logging.getLogger("lictor.agent.archives")

#: A command of a restore is held for so many seconds: longer than an election takes.
COMMAND_MAX_S = 15.0
#: A restore waits so long for another one to end, or to be forgotten because it fell silent.
TURN_MAX_S = 30.0
TURN_PAUSE_S = 0.5
#: What the checking process may print.
PRINTED_BYTES_MAX = 64 * 1024
_UNCHANGED = "nothing was changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveConfig:
    """Bounds, under the names of the agent's configuration, and where files lie meanwhile."""

    folder: str
    bytes_max: int
    unpacked_bytes_max: int
    timeout_s: float
    at_once_max: int

    def check_size(self, size: int) -> None:
        """Raises RequestError for an archive that is too large."""
        if size > self.bytes_max:
            raise RequestError(413, f"the snapshot is over the limit of {self.bytes_max} bytes")


@dataclass(slots=True)
class ArchiveStats:
    """Counters since start."""

    saves: int = 0
    save_failures: int = 0
    save_last_s: float = 0.0
    restores: int = 0
    restore_failures: int = 0
    restore_last_s: float = 0.0
    restored_parts: int = 0
    refused: int = 0
    under_way_current: int = 0

    @contextlib.contextmanager
    def save(self) -> Iterator[None]:
        """Count one that begins here, however it ends."""
        started_at = time.monotonic()
        self.under_way_current += 1
        try:
            yield
        except BaseException:
            self.save_failures += 1
            raise
        finally:
            self.under_way_current -= 1
        self.saves += 1
        self.save_last_s = time.monotonic() - started_at

    @contextlib.contextmanager
    def restore(self) -> Iterator[None]:
        """The same for restoring."""
        started_at = time.monotonic()
        self.under_way_current += 1
        try:
            yield
        except BaseException as error:
            self.restore_failures += 1
            log.warning("archive not restored error=%s", error or type(error).__name__)
            raise
        finally:
            self.under_way_current -= 1
        self.restores += 1
        self.restore_last_s = time.monotonic() - started_at


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedArchive:
    """An archive in a file without a name, at its start; who gets it closes it."""

    file: IO[bytes]
    size: int
    index: int
    known_leader: bool
    last_contact_s: float


class Archives(Protocol):
    """What a face may do. Raises StoreError, ForwardError, RequestError."""

    @property
    def stats(self) -> ArchiveStats: ...

    async def save(self, *, stale: bool) -> SavedArchive:
        """The state as an archive: no older than this call, or with ``stale`` of any age."""
        ...

    async def restore(self, archive: AsyncIterator[bytes], actor: Actor) -> None:
        """Put an archive in force on all servers; returns when this server has it in force."""
        ...


class Spool:
    """Files without a name for archives on their way: nothing of them outlives the process."""

    def __init__(self, config: ArchiveConfig) -> None:
        self._config = config

    def file(self) -> IO[bytes]:
        """An empty one. Raises OSError."""
        folder = self._config.folder or None
        return tempfile.TemporaryFile(prefix="archive-", dir=folder)

    async def take(self, pieces: AsyncIterator[bytes]) -> IO[bytes]:
        """All pieces in one file, at its start. Raises RequestError for too many bytes."""
        file = self.file()
        size, held = 0, bytearray()
        try:
            async for piece in pieces:
                size += len(piece)
                self._config.check_size(size)
                held += piece
                if len(held) >= 1 << 20:
                    data, held = bytes(held), bytearray()
                    await asyncio.to_thread(file.write, data)
            file.write(held)
            file.seek(0)
        except OSError as error:
            file.close()
            raise RequestError(500, f"the snapshot cannot be kept: {error}") from None
        except BaseException:
            file.close()
            raise
        return file


class LocalArchives:
    """On a server."""

    def __init__(self, backend: LocalBackend, store: Store, config: ArchiveConfig) -> None:
        self._backend = backend
        self._store = store
        self._config = config
        self._owner = TaskOwner()
        self.spool = Spool(config)
        self.stats = ArchiveStats()

    async def close(self) -> None:
        """End what is under way."""
        await self._owner.close()

    def _check_room(self) -> None:
        if self.stats.under_way_current >= self._config.at_once_max:
            self.stats.refused += 1
            raise RequestError(429, "too many snapshots are being saved or restored")

    async def save(self, *, stale: bool) -> SavedArchive:
        """The state of this server."""
        self._check_room()
        with self.stats.save():
            try:
                async with asyncio.timeout(self._config.timeout_s):
                    saved = await self._save(stale)
            except TimeoutError:
                raise RequestError(500, "the snapshot was not saved in time") from None
            except OSError as error:
                raise RequestError(500, f"the snapshot cannot be saved: {error}") from None
        log.info("archive saved index=%d bytes=%d", saved.index, saved.size)
        return saved

    async def _save(self, stale: bool) -> SavedArchive:
        if not stale:
            await self._backend.fresh()
        known_leader, contact_s = self._backend.known_leader, self._backend.last_contact_s
        file = self.spool.file()
        try:
            meta = await self._store.save_archive(file)
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return SavedArchive(
            file=file,
            size=size,
            index=meta.index,
            known_leader=known_leader,
            last_contact_s=contact_s,
        )

    async def restore(self, archive: AsyncIterator[bytes], actor: Actor) -> None:
        """Take the archive in, then ``restore_file``."""
        with await self.spool.take(archive) as file:
            await self.restore_file(file, actor)

    async def restore_file(self, archive: IO[bytes], actor: Actor) -> None:
        """Check it, send it through the log, put it in force."""
        self._check_room()
        with self.stats.restore():
            try:
                with self.spool.file() as parts:
                    async with asyncio.timeout(self._config.timeout_s):
                        found = await self._check(archive, parts)
                    parts.seek(0)
                    await self._send(parts, found, actor)
            except TimeoutError:
                raise _failed("it was not checked in time") from None
            except OSError as error:
                raise _failed(str(error)) from None

    async def _check(self, archive: IO[bytes], parts: IO[bytes]) -> dict[str, Any]:
        """What the archive is, its parts written to a file. Raises RequestError."""
        source, out = archive.fileno(), parts.fileno()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "raftstore.archive_check",
            *map(str, (source, out, self._config.unpacked_bytes_max)),
            pass_fds=(source, out),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert process.stdout is not None
            printed = await process.stdout.read(PRINTED_BYTES_MAX)
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
        try:
            found: dict[str, Any] = json.loads(printed)
        except ValueError:
            log.error("checking an archive broke off status=%s", process.returncode)
            raise RequestError(500, f"the snapshot cannot be read, {_UNCHANGED}") from None
        if "Error" in found:
            raise RequestError(500, str(found["Error"]))
        return found

    async def _send(self, parts: IO[bytes], found: dict[str, Any], actor: Actor) -> None:
        restore_id = str(uuid.uuid4())
        begin = BeginRestore(
            id=restore_id, saved_index=found["Index"], saved_cluster=found["ClusterID"]
        )
        log.info("archive is being restored id=%s parts=%d", restore_id, found["Parts"])
        try:
            await self._take_turn(begin, actor)
            for number in range(found["Parts"]):
                data = await asyncio.to_thread(_next_part, parts)
                part = StageRestore(id=restore_id, part=number, data=data)
                await self._before_the_end(part, actor)
                self.stats.restored_parts += 1
        except BaseException:
            self._owner.spawn(self._abandon(restore_id, actor), name="abandon restore")
            raise
        end = EndRestore(id=restore_id, parts=found["Parts"], sha256=bytes.fromhex(found["SHA256"]))
        outcome = await self._backend.change(end, actor=actor, timeout_s=COMMAND_MAX_S)
        if isinstance(outcome, Rejected):
            raise _failed(outcome.reason)
        # Whoever asks this server next is to find what was restored.
        await self._store.applied(outcome.index, timeout_s=COMMAND_MAX_S)
        log.info("archive restored id=%s index=%d", restore_id, outcome.index)

    async def _take_turn(self, begin: BeginRestore, actor: Actor) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + TURN_MAX_S
        while True:
            try:
                return await self._before_the_end(begin, actor)
            except RequestError as error:
                from raftstore.state.machine import ANOTHER  # where the command was applied

                if not error.text.endswith(ANOTHER) or loop.time() > until:
                    raise
            await asyncio.sleep(TURN_PAUSE_S)

    async def _before_the_end(self, command: Command, actor: Actor) -> None:
        """Whatever becomes of this command, the state in force is as it was."""
        try:
            outcome = await self._backend.change(command, actor=actor, timeout_s=COMMAND_MAX_S)
        except (StoreError, ForwardError) as error:
            raise _failed(str(error) or type(error).__name__) from None
        if isinstance(outcome, Rejected):
            raise _failed(outcome.reason)

    async def _abandon(self, restore_id: str, actor: Actor) -> None:
        """Free the memory now; should this fail as well, the servers do it by themselves later."""
        command = EndRestore(id=restore_id, abandon=True)
        try:
            await self._backend.change(command, actor=actor, timeout_s=COMMAND_MAX_S)
        except (StoreError, ForwardError) as error:
            log.warning("restore not abandoned id=%s error=%s", restore_id, error)


def _failed(reason: str) -> RequestError:
    return RequestError(500, f"snapshot not restored, {_UNCHANGED}: {reason}")


def _next_part(parts: IO[bytes]) -> bytes:
    from raftstore.state.staging import LENGTH  # a server's: whoever has an archive has it loaded

    (length,) = LENGTH.unpack(parts.read(LENGTH.size))
    return parts.read(length)
