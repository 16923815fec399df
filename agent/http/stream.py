"""Replies without a known end: pieces are sent as they come, at the client's pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from aiohttp.web import BaseRequest

from agent.http.reply import UNSENT_MAX_BYTES, Reply, date_line, drain
from agent.http.waiting import Waiting


class StreamReply(Reply):
    """A reply that goes on until the pieces end, the client leaves or the agent stops.

    It holds a place among those who wait, which bounds how many there are.
    """

    __slots__ = ("_pieces", "_place", "_waiting")

    def __init__(
        self,
        waiting: Waiting,
        pieces: AsyncGenerator[bytes, None],
        content_type: str,
        headers: tuple[str, ...] = (),
    ) -> None:
        """Raises RequestError 429 when there is no place left. Nothing may fail between this and
        ``prepare``."""
        super().__init__(b"", content_type, 200, headers)
        self._pieces = pieces
        self._waiting = waiting
        self._place = waiting.place()
        self._place.__enter__()

    async def prepare(self, request: BaseRequest) -> None:
        """Write the head, then each piece."""
        try:
            await self._write(request)
        except asyncio.CancelledError:
            if not self._waiting.end_quietly():
                raise
            transport = request.transport
            if transport is not None and request.version >= (1, 1):
                transport.write(b"0\r\n\r\n")
        finally:
            self._place.__exit__(None, None, None)
            await self._pieces.aclose()

    async def _write(self, request: BaseRequest) -> None:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client went away")
        chunked = request.version >= (1, 1)
        self.keep_alive = False
        coding = b"Transfer-Encoding: chunked\r\n" if chunked else b""
        head = self.opening().encode("utf-8", "replace") + date_line()
        transport.write(head + coding + b"Connection: close\r\n\r\n")
        async for piece in self._pieces:
            if transport.is_closing():
                raise ConnectionResetError("the client went away")
            transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if transport.get_write_buffer_size() > UNSENT_MAX_BYTES:
                await drain(request, transport)
        if chunked:
            transport.write(b"0\r\n\r\n")
