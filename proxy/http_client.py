"""A small HTTP/1.1 client: what a sidecar asks of its agent, of key sets and of collectors.

Bounds are the caller's: time to connect, time for all of it, bytes of a body. Answers are whole. It
is our own because a client framework is a quarter of a sidecar's memory, and reads HTTP with the
code that is loaded for the application's requests anyway (docs/adr/0097-a-small-sidecar.md).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from proxy.errors import HttpViolation
from proxy.http1.whole import Answer, TooLong, WholeAnswer

#: Connections that wait for their next request; more are closed after their answer.
IDLE_MAX = 64
_READ_BYTES = 65_536
_PORTS = {"http": 80, "https": 443}


class AnswerTooLong(Exception):
    """The answer's body is longer than the caller takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where requests go. ``socket_path`` beats host and port; ``prefix`` stands before every
    path."""

    host: str = ""
    port: int = 0
    tls: bool = False
    socket_path: str = ""
    prefix: str = ""
    authorization: str = ""

    @property
    def authority(self) -> str:
        """The Host header (RFC 9110, section 7.2)."""
        if self.socket_path:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = _PORTS["https" if self.tls else "http"]
        return host if self.port == usual else f"{host}:{self.port}"


def read_target(url: str) -> Target:
    """A URL ("http", "https", "unix"), or "host:port", without query. Raises ValueError."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, url = "http", f"http://{url}"
    if scheme.lower() == "unix":
        if not rest.startswith("/"):
            raise ValueError(f'no path of a socket in "{url}"')
        return Target(socket_path=rest)
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f'cannot ask "{parts.scheme}://{parts.hostname or ""}"')
    authorization = ""
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        authorization = f"Basic {base64.b64encode(user).decode()}"
    path = parts.path.rstrip("/")
    if not _plain(path) or not _plain(parts.hostname):
        raise ValueError(f"cannot ask {parts.hostname!r} for {path!r}")
    return Target(
        host=parts.hostname,
        port=parts.port if parts.port is not None else _PORTS[parts.scheme],
        tls=parts.scheme == "https",
        prefix=path,
        authorization=authorization,
    )


class HttpClient:
    """Asks one place. Connections are kept and used again."""

    def __init__(
        self,
        target: Target,
        *,
        total_timeout_s: float,
        connect_timeout_s: float,
        body_max_bytes: int,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``headers`` go with every request; ``tls`` of None trusts what this host trusts."""
        self._target = target
        self._total_s = total_timeout_s
        self._connect_s = connect_timeout_s
        self._body_max = body_max_bytes
        self._headers = dict(headers or {})
        if target.authorization:
            self._headers["Authorization"] = target.authorization
        self._tls = tls
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections that are kept."""
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()

    async def get(self, path: str) -> Answer:
        """Ask for a path with its query. Raises OSError, TimeoutError, AnswerTooLong."""
        return await self._ask("GET", path, b"", {})

    async def send(self, method: str, path: str, data: bytes, content_type: str) -> Answer:
        """Send a body. Raises as ``get`` does."""
        return await self._ask(method, path, data, {"Content-Type": content_type})

    async def _ask(self, method: str, path: str, data: bytes, headers: Mapping[str, str]) -> Answer:
        raw = self._request(method, path, data, headers)
        async with asyncio.timeout(self._total_s):
            while self._idle:
                reader, writer = self._idle.pop()
                if reader.at_eof() or writer.is_closing():
                    writer.close()
                    continue
                # A connection that was kept may have been closed by the other side just now, and
                # then nothing was done: a new one is tried. All that we send may be sent again.
                with contextlib.suppress(_Stale):
                    return await self._exchange(reader, writer, method, raw, kept=True)
            reader, writer = await self._dial()
            return await self._exchange(reader, writer, method, raw, kept=False)

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        target = self._target
        async with asyncio.timeout(self._connect_s):
            if target.socket_path:
                return await asyncio.open_unix_connection(target.socket_path)
            if not target.tls:
                return await asyncio.open_connection(target.host, target.port)
            if self._tls is None:
                self._tls = ssl.create_default_context()
            return await asyncio.open_connection(target.host, target.port, ssl=self._tls)

    def _request(self, method: str, path: str, data: bytes, headers: Mapping[str, str]) -> bytes:
        target = self._target.prefix + path or "/"
        if not _plain(target):
            raise OSError(f"not a path that can be asked for: {target!r}")
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._target.authority}", "Accept: */*"]
        lines += [f"{name}: {value}" for name, value in {**self._headers, **headers}.items()]
        if data or method != "GET":
            lines.append(f"Content-Length: {len(data)}")
        if any("\r" in line or "\n" in line for line in lines):
            raise OSError("a header of the request has more than one line")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape") + data

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        method: str,
        raw: bytes,
        *,
        kept: bool,
    ) -> Answer:
        """One request and its answer; the connection is kept if it can be, else closed."""
        reading = WholeAnswer(to_method=method, body_max_bytes=self._body_max)
        keep = False
        try:
            writer.write(raw)
            await writer.drain()
            while reading.answer is None:
                piece = await reader.read(_READ_BYTES)
                if piece:
                    reading.feed(piece)
                else:
                    if kept and not reading.begun:
                        raise _Stale
                    reading.end()
            keep = reading.keeps and len(self._idle) < IDLE_MAX
            return reading.answer
        except HttpViolation as error:
            raise ConnectionError(str(error)) from error
        except TooLong:
            raise AnswerTooLong(f"longer than {self._body_max} bytes") from None
        except ConnectionError:
            if kept and not reading.begun:
                raise _Stale from None
            raise
        finally:
            if keep:
                self._idle.append((reader, writer))
            else:
                writer.close()


class _Stale(Exception):
    """The other side had closed a connection that was kept."""


def _plain(text: str) -> bool:
    """Whether it may stand in the line of a request."""
    return text.isascii() and text.isprintable() and " " not in text
