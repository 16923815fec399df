"""The file of what a member remembers: read at its start, appended to while it lives.

What stands in it is gossip.rejoin's. A line is on the disk within half a second or so; a new file
replaces the old one whole (fsync, rename). A file that cannot be read, or written, costs a warning
and never the start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from gossip.rejoin import Clocks, Ledger, Remembered, parse
from gossip.roster import MemberEvent, MemberEventKind

log = logging.getLogger("lictor.gossip.rejoin")

#: Longer files are not read: one is written anew long before.
FILE_BYTES_MAX = 4 * 1024 * 1024
#: What happens within so many seconds is written together (gossip wire contract, 5.8).
FLUSH_S = 0.5

_GONE = (MemberEventKind.LEAVE, MemberEventKind.REAP)


class RejoinFile:
    """Remembers for one member."""

    def __init__(
        self,
        path: str,
        *,
        own_name: str,
        after_leave: bool,
        clocks: Callable[[], Clocks],
        spawn: Callable[[Coroutine[Any, Any, None], str], None],
    ) -> None:
        """``after_leave`` keeps the memory over a leave; ``clocks`` says how far they are now."""
        self._path = path
        self._own_name = own_name
        self._after_leave = after_leave
        self._clocks = clocks
        self._spawn = spawn
        self._ledger = Ledger(Remembered(), 0)
        self._seen = Clocks()
        #: The file's end is not known: it has to be written anew.
        self._anew = False
        self._timer: asyncio.TimerHandle | None = None
        self._writing = asyncio.Lock()
        self._closed = False
        self._forgotten = False

    @property
    def peers(self) -> Mapping[str, str]:
        """Addresses of those that may still be there, by name."""
        return self._ledger.peers

    async def load(self) -> Remembered:
        """What a former life left."""
        try:
            data = await asyncio.to_thread(_read, self._path)
        except FileNotFoundError:
            self._anew = True
            return Remembered()
        except (OSError, ValueError) as error:
            log.warning("rejoin file ignored path=%s error=%s", self._path, error)
            self._anew = True
            return Remembered()
        found, problem = parse(data, after_leave=self._after_leave)
        if problem:
            log.warning("rejoin file damaged, the rest is used path=%s: %s", self._path, problem)
        self._anew = bool(problem) or not data.endswith(b"\n")
        self._ledger = Ledger(found, len(data))
        self._ledger.gone(self._own_name)
        self._seen = found.clocks
        return found

    def member_changed(self, event: MemberEvent) -> None:
        """Gossip tells of a member."""
        member = event.member
        if member.name == self._own_name:
            return
        if event.kind in _GONE:
            self._ledger.gone(member.name)
        else:
            host = f"[{member.address}]" if ":" in member.address else member.address
            self._ledger.alive(member.name, f"{host}:{member.port}")
        self._soon()

    def look(self) -> None:
        """The clocks may have moved."""
        clocks = self._clocks()
        if clocks != self._seen:
            self._seen = clocks
            self._ledger.clocks(clocks)
            self._soon()

    def _soon(self) -> None:
        if self._timer is None and not self._closed and self._ledger.pending:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._due)

    def _due(self) -> None:
        self._timer = None
        self._spawn(self._flush(), "gossip-rejoin-flush")

    async def _flush(self) -> None:
        async with self._writing:
            if not self._ledger.pending or self._forgotten:
                return
            anew = self._anew or self._ledger.too_long
            data = self._ledger.image() if anew else self._ledger.take()
            self._anew = True  # until it is known that all of it is there
            try:
                await asyncio.to_thread(_replace if anew else _append, self._path, data)
            except OSError as error:
                log.warning("rejoin file not written path=%s error=%s", self._path, error)
            else:
                self._anew = False

    async def close(self) -> None:
        """Write what is left to write."""
        self._stop_timer()
        await self._flush()

    async def forget(self) -> None:
        """The member left: the next start knows nobody, and hears old events anew."""
        self._stop_timer()
        if self._after_leave:
            return await self._flush()
        async with self._writing:
            self._forgotten = True
            try:
                await asyncio.to_thread(_remove, self._path)
            except OSError as error:
                log.warning("rejoin file not removed path=%s error=%s", self._path, error)

    def _stop_timer(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise ValueError(f"longer than {FILE_BYTES_MAX} bytes")
    return data


def _append(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: str, data: bytes) -> None:
    temporary = f"{path}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _sync_folder(path)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        _sync_folder(path)


def _sync_folder(path: str) -> None:
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
