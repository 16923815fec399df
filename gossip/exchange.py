"""Whole TCP conversations: one request, at most one answer, all within one deadline.

Gossip wire contract, sections 1.1, 2.9 and 3.4. Moves bytes and owns sockets; what the messages
mean is decided by the core, which gossip.net hands in as callables.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable

from gossip.addresses import socket_address
from gossip.effects import Address
from gossip.errors import DecodeError, GossipError, RemoteError
from gossip.keyring import NONCE_BYTES
from gossip.stats import GossipStats
from gossip.wire import messages
from gossip.wire.frames import Framing, encode_stream
from gossip.wire.messages import Ack, Err, Ping, PushPull, StreamMessage, User
from gossip.wire.streams import StreamReader

log = logging.getLogger("lictor.gossip.exchange")

CHUNK_BYTES = 65_536
#: A large table is encoded for so long at a time, in seconds, and so many records between two looks
#: at the clock.
ENCODE_SLICE_S, ENCODE_AT_ONCE = 0.002, 64
ANSWERED_ERRORS = ("encrypted", "not_encrypted")


class Exchanges:
    """Both sides of every stream conversation."""

    def __init__(
        self,
        framing: Framing,
        stats: GossipStats,
        *,
        local_name: str,
        local_state: Callable[[bool], PushPull],
        merge: Callable[[PushPull, bool], Awaitable[None]],
        user: Callable[[bytes], None],
    ) -> None:
        self._framing = framing
        self._config = framing.config
        self._stats = stats
        self._local_name = local_name
        self._local_state = local_state
        self._merge = merge
        self._user = user
        self._serving: set[asyncio.Task[None]] = set()

    async def push_pull(self, to: Address, *, join: bool, entering: bool = False) -> None:
        """Send our state, take in theirs; ``entering`` when this is our way into the ring.
        Raises OSError, TimeoutError, GossipError."""
        async with asyncio.timeout(self._config.tcp_timeout_s):
            async with self._connect(to) as (reader, writer):
                await self._send(writer, await _encoded(self._local_state(join)))
                answer = await self._read(reader)
        if isinstance(answer, Err):
            raise RemoteError(answer.error)
        if not isinstance(answer, PushPull):
            raise RemoteError("the answer to a push/pull was something else")
        await self._merge(answer, entering)
        self._stats.push_pulls += 1

    async def ping(self, to: Address, seq_no: int, message: bytes, wait_s: float) -> bool:
        """Whether the member answers over TCP in time."""
        try:
            async with asyncio.timeout(wait_s), self._connect(to) as (reader, writer):
                await self._send(writer, message)
                answer = await self._read(reader)
        except (OSError, TimeoutError, GossipError):
            return False
        return isinstance(answer, Ack) and answer.seq_no == seq_no

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One accepted connection, to its end."""
        task = asyncio.current_task()
        assert task is not None
        if len(self._serving) >= self._config.streams_max:
            self._stats.streams_refused += 1
            writer.transport.abort()
            return
        self._serving.add(task)
        self._stats.streams_accepted += 1
        try:
            async with asyncio.timeout(self._config.tcp_timeout_s):
                await self._serve(reader, writer)
        except (OSError, TimeoutError, GossipError) as error:
            self._stats.stream_errors += 1
            if isinstance(error, DecodeError):
                self._stats.drop(error.reason)
            peer = writer.get_extra_info("peername")
            log.debug("stream failed peer=%s error=%s", peer, error or type(error).__name__)
        except asyncio.CancelledError:
            writer.transport.abort()  # only close() cancels; the end of this task is the aim
        except Exception:
            self._stats.stream_errors += 1
            log.exception("stream failed")
        finally:
            self._serving.discard(task)
            writer.close()

    async def close(self) -> None:
        """Cut all conversations that others started."""
        tasks = list(self._serving)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await self._read(reader)
        except DecodeError as error:
            if error.reason in ANSWERED_ERRORS:
                await self._send(writer, messages.encode(Err(str(error))))
            raise
        if isinstance(request, Ping):
            if request.node and request.node != self._local_name:
                self._stats.drop("ping_for_another")
                return
            await self._send(writer, messages.encode(Ack(request.seq_no)))
        elif isinstance(request, PushPull):
            # Answer first, judge afterwards: the other side learns our state even if we refuse it.
            await self._send(writer, await _encoded(self._local_state(request.join)))
            await self._merge(request, False)
        elif isinstance(request, User):
            self._user(request.payload)
        else:
            self._stats.drop("out_of_place")

    @contextlib.asynccontextmanager
    async def _connect(
        self, to: Address
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        target = socket_address(to)
        if target is None:
            raise RemoteError("no address of a member")
        reader, writer = await asyncio.open_connection(*target)
        self._stats.streams_opened += 1
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _send(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        nonce = os.urandom(NONCE_BYTES) if self._framing.seals else b""
        if len(body) >= self._config.offload_min_bytes:
            data = await asyncio.to_thread(encode_stream, self._framing, body, nonce=nonce)
        else:
            data = encode_stream(self._framing, body, nonce=nonce)
        writer.write(data)
        await writer.drain()

    async def _read(self, reader: asyncio.StreamReader) -> StreamMessage:
        """The one message of this direction."""
        parser = StreamReader(self._framing)
        received = 0
        while True:
            chunk = await reader.read(CHUNK_BYTES)
            if not chunk:
                raise DecodeError("stream ended early", reason="cut_off")
            received += len(chunk)
            if received >= self._config.offload_min_bytes:
                message = await asyncio.to_thread(parser.feed, chunk)
            else:
                message = parser.feed(chunk)
            if message is not None:
                for _ in range(parser.skipped_nodes):
                    self._stats.drop("malformed")
                return message


async def _encoded(state: PushPull) -> bytes:
    """A table as bytes, made between other work where it is large; it is a value and stays."""
    loop = asyncio.get_running_loop()
    until = loop.time() + ENCODE_SLICE_S
    parts: list[bytes] = []
    for part in messages.push_pull_parts(state):
        parts.append(part)
        if len(parts) % ENCODE_AT_ONCE == 0 and loop.time() > until:
            await asyncio.sleep(0)
            until = loop.time() + ENCODE_SLICE_S
    return b"".join(parts)
