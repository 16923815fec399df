"""Two real sidecars over real TLS on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import time
from collections.abc import AsyncIterator

import pytest

from proxy.server import PUBLIC
from proxy.source import Endpoint, UpstreamSpec
from tests.proxy.mesh import Authority, Mesh, endpoint, rule, until


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = Mesh()
    async with made.stack:
        yield made


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> bytes:
    writer.write(text)
    return await asyncio.wait_for(reader.readexactly(len(text)), 5)


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        pass


async def test_bytes_pass_both_ways_between_two_sidecars(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"hello") == b"hello"
    assert await ask(reader, writer, b"again") == b"again"
    await close(writer)
    await until(lambda: mesh.proxies["db"].stats().inbound_active == 0, "connection ended")
    stats = mesh.proxies["db"].stats()
    assert (stats.inbound_total, stats.downstream_bytes, stats.upstream_bytes) == (1, 10, 10)


async def test_a_stream_of_ten_megabytes_arrives_whole(mesh: Mesh) -> None:
    port = await mesh.pair(await mesh.app())
    reader, writer = await connect(port)
    sent = os.urandom(10 * 1024 * 1024)
    digest = hashlib.sha256()
    writer.write(sent)
    writer.write_eof()
    while data := await asyncio.wait_for(reader.read(262144), 20):
        digest.update(data)
    assert digest.digest() == hashlib.sha256(sent).digest()
    await close(writer)
