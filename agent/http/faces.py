"""Where the HTTP API listens: addresses with and without TLS, and sockets of a path."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import logging
import os
import pwd
import socket
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from agent.backend.rpc.admission import HandshakeRates
from agent.backend.rpc.listener import Door, Listener, ListenerLimits
from agent.config.bounds import Limits
from agent.config.network import UNIX
from agent.config.schema import AgentConfig, UnixSockets
from agent.errors import ConfigError
from agent.listening import Sockets

if TYPE_CHECKING:
    from agent.http.https import HttpsTls

log = logging.getLogger("lictor.agent.http")

BACKLOG = 1024
#: A socket without a mode of its own is its owner's (Consul leaves it to the umask).
_MODE = 0o600


class HttpFaces:
    """The listeners of one server."""

    def __init__(
        self,
        runner: web.ServerRunner,
        connection: Callable[[], asyncio.Protocol],
        may_open: Callable[[str, int], bool],
        sockets: Sockets,
    ) -> None:
        """``may_open(client, waiting)``: may this address have one more beside those waiting?"""
        self._sockets = sockets
        self._runner = runner
        self._connection = connection
        self._may_open = may_open
        self._secure: list[Listener] = []
        self._paths: list[str] = []
        self.door = Door()
        self.tls: HttpsTls | None = None
        #: Where TLS is spoken, as (address, port).
        self.secure_addresses: list[tuple[str, int]] = []

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Where plain HTTP is spoken; paths are not among them."""
        found = [at for at in self._runner.addresses if isinstance(at, tuple)]
        return tuple((str(at[0]), int(at[1])) for at in found)

    async def open(self, config: AgentConfig, *, tls_port: int) -> None:
        """Listen everywhere. Raises OSError that names address and port, ConfigError.

        ``tls_port`` 0 takes any free one, less than 0 none.
        """
        if config.port_http >= 0:
            for address in config.http_addrs:
                if address.startswith(UNIX):
                    await self._open_path(address.removeprefix(UNIX), config.unix_sockets)
                else:
                    await self._open_plain(address, config.port_http)
        # Without a certificate nobody could shake hands: `agent.config.rules` warns of it.
        if tls_port >= 0 and config.https.cert_file:
            # A library of 9 MB: only for those who have certificates.
            from agent.http.https import HttpsTls

            self.tls = HttpsTls(config.https)
            for address in config.https_addrs:
                self._open_secure(address, tls_port, config)
        for host, port in self.addresses:
            log.info("http listening address=%s port=%d", host, port)
        for host, port in self.secure_addresses:
            log.info("https listening address=%s port=%d", host, port)

    async def _open_plain(self, address: str, port: int) -> None:
        try:
            bound = self._sockets.bind("tcp", address, port)
            if bound is None:
                await web.TCPSite(self._runner, address, port, backlog=BACKLOG).start()
            else:
                await web.SockSite(self._runner, bound, backlog=BACKLOG).start()
        except OSError as error:
            raise _named(error, "HTTP", f"{address}:{port}") from None

    async def _open_path(self, path: str, wanted: UnixSockets) -> None:
        try:
            bound = bind_path(path, wanted)
            await web.SockSite(self._runner, bound, backlog=BACKLOG).start()
        except OSError as error:
            raise _named(error, "HTTP", path) from None
        self._paths.append(path)
        log.info("http listening path=%s", path)

    def _open_secure(self, address: str, port: int, config: AgentConfig) -> None:
        listener = Listener(
            factory=self._connection,
            may_open=self._may_open,
            door=self.door,
            limits=_limits(config.limits),
            known=lambda _: False,
            tls=self.tls,
        )
        try:
            if address.startswith(UNIX):
                path = address.removeprefix(UNIX)
                bound = bind_path(path, config.unix_sockets)
                bound.listen(BACKLOG)
                listener.serve(bound)
                self._paths.append(path)
            else:
                self.secure_addresses.append(self._listen(listener, address, port))
        except OSError as error:
            raise _named(error, "HTTPS", f"{address}:{port}") from None
        self._secure.append(listener)

    def _listen(self, listener: Listener, address: str, port: int) -> tuple[str, int]:
        bound = self._sockets.bind("tcp", address, port)
        if bound is None:
            return listener.start(address, port)
        bound.listen(BACKLOG)
        listener.serve(bound)
        name = bound.getsockname()
        return str(name[0]), int(name[1])

    async def close(self) -> None:
        """Listen no more."""
        for site in list(self._runner.sites):
            await site.stop()
        for listener in self._secure:
            await listener.stop()
        self._secure.clear()
        for path in self._paths:
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._paths.clear()


def bind_path(path: str, wanted: UnixSockets) -> socket.socket:
    """A bound socket that does not listen yet, so that nobody gets in before its mode is set.

    A socket that is left there from before makes room; anything else does not. Raises OSError,
    ConfigError.
    """
    user, group = _user(wanted.user), _group(wanted.group)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            log.warning("replacing socket path=%s", path)
            os.unlink(path)
    bound = socket.socket(socket.AF_UNIX)
    try:
        bound.bind(path)
        os.chmod(path, int(wanted.mode, 8) if wanted.mode else _MODE)
        if user >= 0 or group >= 0:
            os.chown(path, user, group)
    except BaseException:
        bound.close()
        raise
    return bound


def _user(name: str) -> int:
    if not name or name.isdecimal():
        return int(name or -1)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ConfigError(f'unix_sockets.user: no user "{name}"') from None


def _group(name: str) -> int:
    if not name or name.isdecimal():
        return int(name or -1)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f'unix_sockets.group: no group "{name}"') from None


def _limits(limits: Limits) -> ListenerLimits:
    in_all = limits.https_handshakes_per_second
    return ListenerLimits(
        handshakes_max=limits.https_handshakes_max,
        handshake_timeout_s=limits.https_handshake_timeout_s,
        rates=HandshakeRates(
            per_client=limits.https_handshakes_per_client,
            client_burst=max(limits.http_max_conns_per_client, 1),
            in_all=in_all,
            burst=2 * in_all,
            clients_max=limits.handshake_clients_max,
        ),
    )


def _named(error: OSError, what: str, where: str) -> OSError:
    reason = error.strerror or str(error)
    return OSError(error.errno, f"cannot listen for {what} on {where}: {reason}")
