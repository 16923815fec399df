"""Opens connections for checks: names are resolved, addresses tried in turn, errors are Go's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator

from agent.local.checks.dial import dial_error, join_host_port, lookup_error, split_host_port


class DialFailed(Exception):
    """No connection came about; the text is what a client of Consul may know."""


async def connect(target: str) -> socket.socket:
    """A connected, non-blocking TCP socket to ``host:port``. Raises DialFailed.

    The caller sets a limit of time.
    """
    try:
        host, port = split_host_port(target)
    except ValueError as error:
        raise DialFailed(str(error)) from None
    loop = asyncio.get_running_loop()
    try:
        addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise DialFailed(lookup_error(host)) from None
    first = ""
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            shown = join_host_port(str(address[0]), int(str(address[1])))
            first = first or dial_error(shown, error)
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise DialFailed(first or lookup_error(host))


#: OpenSSL's reasons where the other side does not speak TLS at all.
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST"})


@contextlib.asynccontextmanager
async def opened(
    target: str, context: ssl.SSLContext | None, server_name: str
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A stream to ``host:port``, closed without ceremony afterwards. Raises DialFailed.

    With a ``context`` it speaks TLS; without ``server_name`` the certificate must be the host's.
    """
    sock = await connect(target)
    name = None if context is None else server_name or split_host_port(target)[0]
    try:
        reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise DialFailed(f"x509: {error.verify_message}") from None
    except (OSError, ValueError) as error:
        sock.close()
        raise DialFailed(f"tls: {_words(error)}") from None
    except BaseException:
        sock.close()
        raise
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def _words(error: OSError | ValueError) -> str:
    """What is wrong with a handshake; in Go's words where one can tell what the other side is."""
    reason = getattr(error, "reason", None)
    if reason in _NO_TLS:
        return "first record does not look like a TLS handshake"
    return str(reason or error)
