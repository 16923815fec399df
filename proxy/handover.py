"""Gives the listening sockets of a running proxy to the one that comes after it.

The new process asks at a unix socket and gets the sockets themselves, so there is no moment in
which nobody listens and no connection that waits to be accepted is lost. Once it serves, it says
so, and the old one stops accepting and lets its connections end (mesh contract D.11). Only a
process of the same user is answered.

Where several are started within seconds, a later one may be given the sockets before an earlier
one. Each therefore has a place in the order of starts, which goes along with the sockets: whoever
finds that a later one serves already takes nothing, and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from proxy.listeners import Listener

log = logging.getLogger("lictor.proxy.handover")

#: What the kernel passes with one message at most (SCM_MAX_FD), and sockets in all.
FDS_MAX = 250
NAMES_MAX_BYTES = 65_536
#: How long the old process waits for the new one to serve, and the new one for the sockets.
SERVE_TIMEOUT_S, TAKE_TIMEOUT_S = 120.0, 5.0
#: Between two questions of a new process, where another one is just being given the sockets.
AGAIN_S = 0.1
_SERVING = b"S"
#: How a place in the order of starts stands among the names; with it goes any descriptor.
_ORDER = "order "
_CREDENTIALS = struct.Struct("3i")


class Superseded(Exception):
    """Somebody who was started later serves already."""


def order_in(names: Iterable[str]) -> int:
    """When the process that gives these was started; 0 where it does not say. Raises ValueError."""
    return max((int(name[len(_ORDER) :]) for name in names if name.startswith(_ORDER)), default=0)


class Inheritance:
    """Sockets that were taken over, by what they listen on, and whom to tell of the end."""

    def __init__(self, sockets: Mapping[str, socket.socket], giver: socket.socket) -> None:
        self._sockets = dict(sockets)
        self._giver = giver

    def take(self, on: str) -> socket.socket | None:
        """The socket that listens there; it is the caller's from now on."""
        return self._sockets.pop(on, None)

    def serving(self) -> None:
        """Tell the old process that we serve. What was not taken is closed."""
        with contextlib.suppress(OSError):
            self._giver.sendall(_SERVING)
        self.close()

    def close(self) -> None:
        """Take nothing more."""
        self._giver.close()
        for each in self._sockets.values():
            each.close()
        self._sockets.clear()


def take(
    path: str, given_up: Callable[[], bool] = lambda: False, *, order: int = 0
) -> Inheritance | None:
    """Ask whoever runs for its sockets; None when nobody does, or nobody wants them any more
    (``given_up``). ``order`` is our place in the order of starts, 0 for none. Blocks for a moment,
    or until a handover that is under way is over: then whoever serves now is asked. Raises
    Superseded."""
    deadline = time.monotonic() + SERVE_TIMEOUT_S + TAKE_TIMEOUT_S
    while True:
        try:
            return _asked(path, order)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except (OSError, ValueError) as error:
            if time.monotonic() >= deadline or given_up():
                log.warning("no sockets were taken over path=%s error=%s", path, error)
                return None
        time.sleep(AGAIN_S)


def _asked(path: str, order: int) -> Inheritance:
    with contextlib.ExitStack() as undo:
        giver = undo.enter_context(socket.socket(socket.AF_UNIX))
        giver.settimeout(TAKE_TIMEOUT_S)
        giver.connect(path)
        data, fds, _, _ = socket.recv_fds(giver, NAMES_MAX_BYTES, FDS_MAX)
        sockets = [undo.enter_context(socket.socket(fileno=fd)) for fd in fds]
        while data and not data.endswith(b"\n"):
            data += giver.recv(NAMES_MAX_BYTES)
        found = dict(zip(json.loads(data), sockets, strict=True))
        theirs = order_in(found)
        if order and theirs > order:
            raise Superseded(f"a later process serves path={path}")
        undo.pop_all()
        return Inheritance(found, giver)


class Handover:
    """The side that gives."""

    def __init__(self, path: str, listeners: Mapping[str, Listener], *, order: int = 0) -> None:
        """``listeners`` are those that are open when somebody asks; ``order`` is our place in the
        order of starts, 0 for none."""
        self._path = Path(path)
        self._order = order
        self._inode = -1
        self._listeners = listeners
        self._listener: socket.socket | None = None
        self.given = False

    def open(self) -> None:
        """Listen, in the place of whoever was asked before. Raises OSError."""
        listener = socket.socket(socket.AF_UNIX)
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        beside.unlink(missing_ok=True)
        try:
            listener.bind(str(beside))
            beside.chmod(0o600)
            listener.listen(1)
            listener.setblocking(False)
            self._inode = beside.stat().st_ino
            beside.rename(self._path)  # at once: nobody finds neither of us
        except OSError:
            listener.close()
            raise
        self._listener = listener

    async def wait(self) -> None:
        """Until a successor serves."""
        assert self._listener is not None
        loop = asyncio.get_running_loop()
        while True:
            heir, _ = await loop.sock_accept(self._listener)
            with heir:
                if await self._give(heir, loop):
                    self.given = True
                    for each in self._listeners.values():
                        each.give_away()
                    # Whoever waits here already is to ask the one that serves now.
                    self._listener.close()
                    return

    async def _give(self, heir: socket.socket, loop: asyncio.AbstractEventLoop) -> bool:
        raw = heir.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(raw)
        if uid not in (0, os.geteuid()):
            log.warning("another user asked for our sockets uid=%d", uid)
            return False
        heir.setblocking(False)
        open_ones = [each for each in self._listeners.values() if each.descriptor >= 0]
        given = {str(each.on): each.descriptor for each in open_ones[:FDS_MAX]}
        if self._order:
            given[f"{_ORDER}{self._order}"] = heir.fileno()
        try:
            names = json.dumps(list(given)).encode() + b"\n"
            socket.send_fds(heir, [names], list(given.values()))
            async with asyncio.timeout(SERVE_TIMEOUT_S):
                serves = await loop.sock_recv(heir, 1) == _SERVING
        except (OSError, TimeoutError) as error:
            log.warning("nobody took over pid=%d error=%s", pid, error)
            return False
        if serves:
            log.info("another process serves now pid=%d", pid)
        return serves

    def close(self) -> None:
        """Give nothing any more. The path is left to a successor."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == self._inode:  # else a successor listens there
                    self._path.unlink()
