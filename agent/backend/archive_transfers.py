"""Archives between agents: an agent without a vote has a server save or restore, piece by piece.

A piece is one request like any other (rpc/calls.py), so an archive of any size shares the
connection with everything else, and its receiver sets the pace. All pieces go to one server, which
keeps the file meanwhile: so many at once at most, each forgotten when it is not asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import IO

from agent.backend.archives import ArchiveConfig, ArchiveStats, LocalArchives, SavedArchive, Spool
from agent.backend.rpc import calls
from agent.backend.rpc.client import RemoteFailure, RpcPool
from agent.backend.servers import ServerAddress, Servers
from agent.errors import ForwardError, NoClusterLeader, NoServers, RequestError
from raftstore.codec import codec_for
from raftstore.errors import DecodeError
from raftstore.records import Actor

ARCHIVE_SAVE = "archive-save"
ARCHIVE_READ = "archive-read"
ARCHIVE_BEGIN = "archive-begin"
ARCHIVE_WRITE = "archive-write"
ARCHIVE_RESTORE = "archive-restore"
ARCHIVE_CLOSE = "archive-close"
ARCHIVE_METHODS = (
    ARCHIVE_SAVE,
    ARCHIVE_READ,
    ARCHIVE_BEGIN,
    ARCHIVE_WRITE,
    ARCHIVE_RESTORE,
    ARCHIVE_CLOSE,
)

PIECE_BYTES = 512 * 1024
PIECE_MAX_S = 30.0
#: Archives that a server keeps for others at once, and how long without being asked for them.
KEPT_MAX = 4
KEPT_IDLE_S = 60.0

_ACTOR = codec_for(Actor)
_ACTOR_BYTES_MAX = 4096

Method = Callable[[bytes, float], Awaitable[bytes]]


class _Kept:
    """One archive on its way."""

    __slots__ = ("busy", "file", "size", "timer")

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.size = 0
        self.busy = False
        self.timer: asyncio.TimerHandle | None = None


class ArchiveTransfers:
    """What a server does for other agents."""

    def __init__(self, archives: LocalArchives, config: ArchiveConfig) -> None:
        self._archives = archives
        self._config = config
        self._kept: dict[str, _Kept] = {}

    @property
    def methods(self) -> dict[str, Method]:
        """By name, for the RPC service."""
        return {
            ARCHIVE_SAVE: self._save,
            ARCHIVE_READ: self._read,
            ARCHIVE_BEGIN: self._begin,
            ARCHIVE_WRITE: self._write,
            ARCHIVE_RESTORE: self._restore,
            ARCHIVE_CLOSE: self._close,
        }

    async def close(self) -> None:
        """Forget everything, and end what is under way."""
        await self._archives.close()
        for transfer in list(self._kept):
            self._forget(transfer)

    def _keep(self, file: IO[bytes]) -> str:
        if len(self._kept) >= KEPT_MAX:
            file.close()
            raise RequestError(429, "too many snapshots are being saved or restored")
        transfer = uuid.uuid4().hex
        self._kept[transfer] = _Kept(file)
        self._touch(transfer)
        return transfer

    def _touch(self, transfer: str) -> _Kept:
        kept = self._kept.get(transfer)
        if kept is None or kept.busy:
            raise ForwardError("this transfer of a snapshot is not known here", definite=True)
        if kept.timer is not None:
            kept.timer.cancel()
        loop = asyncio.get_running_loop()
        kept.timer = loop.call_later(KEPT_IDLE_S, self._forget, transfer)
        return kept

    def _forget(self, transfer: str) -> None:
        kept = self._kept.get(transfer)
        if kept is not None and not kept.busy:
            del self._kept[transfer]
            if kept.timer is not None:
                kept.timer.cancel()
            kept.file.close()

    async def _save(self, payload: bytes, timeout_s: float) -> bytes:
        stale, *_ = calls.unpack(payload, bool)
        saved = await self._archives.save(stale=stale)
        transfer = self._keep(saved.file)
        return calls.pack(
            transfer, saved.size, saved.index, saved.known_leader, saved.last_contact_s
        )

    async def _read(self, payload: bytes, timeout_s: float) -> bytes:
        transfer, offset, *_ = calls.unpack(payload, str, int)
        kept = self._touch(transfer)
        return await asyncio.to_thread(_read_at, kept.file, max(0, offset))

    async def _begin(self, payload: bytes, timeout_s: float) -> bytes:
        return calls.pack(self._keep(self._archives.spool.file()))

    async def _write(self, payload: bytes, timeout_s: float) -> bytes:
        transfer, offset, data, *_ = calls.unpack(payload, str, int, bytes)
        kept = self._touch(transfer)
        if offset != kept.size:
            raise DecodeError("a piece of the snapshot is out of order")
        self._config.check_size(kept.size + len(data))
        kept.size += len(data)
        await asyncio.to_thread(kept.file.write, data)
        return b""

    async def _restore(self, payload: bytes, timeout_s: float) -> bytes:
        transfer, size, plain, *_ = calls.unpack(payload, str, int, bytes)
        actor = _ACTOR.decode(plain, bytes_max=_ACTOR_BYTES_MAX)
        kept = self._touch(transfer)
        if size != kept.size:
            raise DecodeError("a piece of the snapshot is missing")
        kept.busy = True
        try:
            await asyncio.to_thread(kept.file.flush)
            kept.file.seek(0)
            await self._archives.restore_file(kept.file, actor)
        finally:
            kept.busy = False
            self._forget(transfer)
        return b""

    async def _close(self, payload: bytes, timeout_s: float) -> bytes:
        transfer, *_ = calls.unpack(payload, str)
        self._forget(transfer)
        return b""


def _read_at(file: IO[bytes], offset: int) -> bytes:
    file.seek(offset)
    return file.read(PIECE_BYTES)


class RemoteArchives:
    """On an agent that is no server. The whole archive lies here before anything is done with it,
    so that a connection that breaks off is an error and never half an answer."""

    def __init__(self, servers: Servers, pool: RpcPool, config: ArchiveConfig) -> None:
        self._servers = servers
        self._pool = pool
        self._config = config
        self._spool = Spool(config)
        self.stats = ArchiveStats()

    async def save(self, *, stale: bool) -> SavedArchive:
        """Have a server save, and fetch what it saved."""
        with self.stats.save():
            return await self._save(stale)

    async def _save(self, stale: bool) -> SavedArchive:
        server, raw = await self._first(ARCHIVE_SAVE, calls.pack(stale), self._config.timeout_s)
        transfer, size, index, known_leader, contact_s, *_ = calls.unpack(
            raw, str, int, int, bool, (int, float)
        )
        try:
            file = await self._spool.take(self._pieces(server, transfer, size))
        finally:
            await self._forget(server, transfer)
        return SavedArchive(
            file=file,
            size=size,
            index=index,
            known_leader=known_leader,
            last_contact_s=float(contact_s),
        )

    async def _pieces(
        self, server: ServerAddress, transfer: str, size: int
    ) -> AsyncIterator[bytes]:
        offset = 0
        while offset < size:
            piece = await self._call(server, ARCHIVE_READ, calls.pack(transfer, offset))
            if not piece:
                raise ForwardError(
                    "the server sent less of the snapshot than it has", definite=True
                )
            offset += len(piece)
            yield piece

    async def restore(self, archive: AsyncIterator[bytes], actor: Actor) -> None:
        """Send it to a server, and have that put it in force."""
        with self.stats.restore():
            await self._restore(archive, actor)

    async def _restore(self, archive: AsyncIterator[bytes], actor: Actor) -> None:
        with await self._spool.take(archive) as file:
            server, raw = await self._first(ARCHIVE_BEGIN, b"", PIECE_MAX_S)
            transfer, *_ = calls.unpack(raw, str)
            try:
                offset = 0
                while piece := await asyncio.to_thread(_read_at, file, offset):
                    await self._call(server, ARCHIVE_WRITE, calls.pack(transfer, offset, piece))
                    offset += len(piece)
            except BaseException:
                await self._forget(server, transfer)
                raise
            order = calls.pack(transfer, offset, _ACTOR.encode(actor))
            await self._call(server, ARCHIVE_RESTORE, order, self._config.timeout_s)

    async def _first(
        self, method: str, payload: bytes, timeout_s: float
    ) -> tuple[ServerAddress, bytes]:
        """Ask one server after the other until one takes it on."""
        failure: ForwardError = NoServers()
        for _ in range(len(self._servers)):
            server = self._servers.preferred()
            if server is None:
                break
            try:
                return server, await self._call(server, method, payload, timeout_s)
            except NoClusterLeader:
                raise
            except ForwardError as error:
                failure = error
                self._servers.failed(server)
        raise failure

    async def _call(
        self, server: ServerAddress, method: str, payload: bytes, timeout_s: float = PIECE_MAX_S
    ) -> bytes:
        try:
            return await self._pool.call(
                (server.host, server.port), method, payload, timeout_s=timeout_s
            )
        except RemoteFailure as error:
            if error.code.startswith("status-"):
                raise RequestError(int(error.code[7:]), str(error)) from None
            if error.code == "NoClusterLeader":
                raise NoClusterLeader from None
            raise

    async def _forget(self, server: ServerAddress, transfer: str) -> None:
        with contextlib.suppress(ForwardError, RequestError):  # it forgets by itself
            await self._call(server, ARCHIVE_CLOSE, calls.pack(transfer), 1.0)
