"""Ways to an application: of this host, or outside of the mesh where a gateway stands for it."""

from __future__ import annotations

import asyncio
import functools
import os
import ssl

from proxy.config import ProxyConfig
from proxy.errors import NoHandshake
from proxy.relay import Owner, PlainStream, Stream, TlsStream
from proxy.source import AppAddress, AppTls
from proxy.tunnel.pool import Greeting

#: Contexts of one gateway's services; each is some 50 KB.
_CONTEXTS_MAX = 512


async def connect(owner: Owner, config: ProxyConfig, to: AppAddress, alpn: str = "") -> Stream:
    """A connection that stands, with its handshake where it has one; from now on it is the owner's.

    Raises OSError; ``alpn`` is what the other side of a handshake must speak, "" for anything.
    """
    if to.socket_path:
        loop, stream = asyncio.get_running_loop(), PlainStream(owner, config)
        await _or_abort(loop.create_unix_connection(lambda: stream, to.socket_path), stream)
        return stream
    if to.tls is None and not to.others:  # as most: with fewer calls on the way
        stream = PlainStream(owner, config)
        try:
            await asyncio.get_running_loop().create_connection(lambda: stream, to.address, to.port)
        except asyncio.CancelledError:
            stream.abort()
            raise
        return stream
    if not to.others:
        return await _connect(owner, config, to, (to.address, to.port), alpn)
    failure = OSError("no address")
    for place in ((to.address, to.port), *to.others):
        try:
            return await _connect(owner, config, to, place, alpn)
        except OSError as error:
            failure = error
    raise failure


async def _connect(
    owner: Owner, config: ProxyConfig, to: AppAddress, place: tuple[str, int], alpn: str
) -> Stream:
    loop = asyncio.get_running_loop()
    if to.tls is None:
        stream = PlainStream(owner, config)
        await _or_abort(loop.create_connection(lambda: stream, *place), stream)
        return stream
    context = await loop.run_in_executor(None, _fresh, to.tls, alpn)
    greeting = Greeting(loop.create_future())
    name = to.tls.server_name or place[0]
    secured = TlsStream(greeting, config, context, server_side=False, server_name=name)
    await _or_abort(loop.create_connection(lambda: secured, *place), secured)
    try:
        await greeting.secured
    except NoHandshake as error:
        secured.abort()
        raise OSError(f"TLS with {name}: {error}") from error
    except BaseException:
        secured.abort()
        raise
    if secured.lost:
        raise OSError("the connection broke at once")
    secured.owner = owner
    owner.stream_opened(secured)
    return secured


async def _or_abort(connecting: object, stream: PlainStream | TlsStream) -> None:
    """Where this is cancelled, it may have been connected in the very same turn."""
    try:
        await connecting  # type: ignore[misc]
    except asyncio.CancelledError:
        stream.abort()
        raise


def _fresh(tls: AppTls, alpn: str) -> ssl.SSLContext:
    """The context of these files as they are now."""
    files = [each for each in (tls.ca_file, tls.cert_file, tls.key_file) if each]
    try:
        stamps = tuple(os.stat(each).st_mtime_ns for each in files)
        return _context(tls, alpn, stamps)
    except (OSError, ssl.SSLError) as error:
        named = f" ({', '.join(files)})" if isinstance(error, ssl.SSLError) else ""
        raise OSError(f"TLS files cannot be used: {error}{named}") from error


@functools.lru_cache(maxsize=_CONTEXTS_MAX)
def _context(tls: AppTls, alpn: str, stamps: tuple[int, ...]) -> ssl.SSLContext:
    """``stamps`` tell one state of the files from another."""
    del stamps
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which checks names, too
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_verify_locations(cafile=tls.ca_file)
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file or None)
    if alpn:
        context.set_alpn_protocols([alpn])
    return context
