"""Listening sockets of a proxy: bind, retry, replace, close.

Decides nothing about connections: each accepted one gets the protocol that its factory makes. A
listener that cannot bind does not stop the proxy; it is tried again and says why (contract D.3).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proxy.config import ProxyConfig
from proxy.sockets import keep_alive

log = logging.getLogger("lictor.proxy.listeners")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenOn:
    """Where to listen: host and port, or a unix socket with an optional file mode."""

    address: str = ""
    port: int = 0
    socket_path: str = ""
    socket_mode: int | None = None

    def __str__(self) -> str:
        return self.socket_path or f"{self.address}:{self.port}"


class Listener:
    """One listening socket that wants to be open."""

    __slots__ = ("_config", "_factory", "_given", "_inherited", "_server", "error", "name", "on")

    def __init__(
        self,
        name: str,
        on: ListenOn,
        factory: Callable[[], asyncio.Protocol],
        config: ProxyConfig,
        inherited: socket.socket | None = None,
    ) -> None:
        """``inherited`` listens there already: another process has opened it."""
        self._inherited = inherited
        self._given = False
        self.name = name
        self.on = on
        self.error = ""
        self._factory = factory
        self._config = config
        self._server: asyncio.AbstractServer | None = None

    @property
    def is_open(self) -> bool:
        """Whether connections are accepted."""
        return self._server is not None

    @property
    def port(self) -> int:
        """The port that is really bound (useful when 0 was asked for), 0 while not open."""
        if self._server is None or self.on.socket_path:
            return 0
        sockets = getattr(self._server, "sockets", ())
        return int(sockets[0].getsockname()[1]) if sockets else 0

    @property
    def descriptor(self) -> int:
        """The file descriptor that listens, -1 while not open."""
        sockets = getattr(self._server, "sockets", ())
        return int(sockets[0].fileno()) if sockets else -1

    def give_away(self) -> None:
        """Another process has the socket too: closing ours does not end it."""
        self._given = True

    async def run(self) -> None:
        """Open the socket, however often it takes; returns once it is open."""
        while True:
            try:
                await self._open()
            except OSError as error:
                if str(error) != self.error:
                    log.warning("cannot listen name=%s on=%s error=%s", self.name, self.on, error)
                self.error = str(error)
                await asyncio.sleep(self._config.bind_retry_s)
            else:
                self.error = ""
                for each in getattr(self._server, "sockets", ()):
                    keep_alive(each, self._config)
                log.info("listening name=%s on=%s", self.name, self.on)
                return

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        inherited, self._inherited = self._inherited, None
        if inherited is not None:
            make = loop.create_unix_server if self.on.socket_path else loop.create_server
            self._server = await make(self._factory, sock=inherited, backlog=self._config.backlog)
            return
        if not self.on.socket_path:
            self._server = await loop.create_server(
                self._factory, self.on.address, self.on.port, backlog=self._config.backlog,
                reuse_port=self._config.workers > 1 or None,
            )  # fmt: skip
            return
        path = Path(self.on.socket_path)
        await loop.run_in_executor(None, _clear_stale, path)
        self._server = await loop.create_unix_server(
            self._factory, self.on.socket_path, backlog=self._config.backlog
        )
        if self.on.socket_mode is not None:
            os.chmod(self.on.socket_path, self.on.socket_mode)  # one system call on our own file

    def close(self) -> None:
        """Accept no more. Connections that were accepted live on."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        if self.on.socket_path and not self._given:
            Path(self.on.socket_path).unlink(missing_ok=True)


def _clear_stale(path: Path) -> None:
    """Remove a socket file that nobody answers on; refuse to touch anything else."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(f"{path} exists and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise FileExistsError(f"{path} is in use")
