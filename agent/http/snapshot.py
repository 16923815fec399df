"""`/v1/snapshot`: the whole state as an archive, saved and restored (contract 16)."""

from __future__ import annotations

import asyncio
from typing import IO

from aiohttp.web import BaseRequest

from agent import backend
from agent.backend import Consistency
from agent.backend.archives import Archives
from agent.errors import RequestError
from agent.http import params as query_params
from agent.http.call import Call
from agent.http.reply import Reply, drain

ARCHIVE_TYPE = "application/x-gzip"
PIECE_BYTES = 256 * 1024


class FileReply(Reply):
    """A reply whose body is a file, read and sent piece by piece. The file is closed with it."""

    __slots__ = ("file", "size")

    def __init__(
        self, file: IO[bytes], size: int, content_type: str, headers: tuple[str, ...]
    ) -> None:
        super().__init__(b"", content_type, 200, headers)
        self.file = file
        self.size = size

    async def prepare(self, request: BaseRequest) -> None:
        """Write head and body at the client's pace."""
        with self.file:
            transport, head = self.begin(request, self.size)
            transport.write(head)
            left = self.size
            while left:
                piece = await asyncio.to_thread(self.file.read, min(left, PIECE_BYTES))
                if not piece or transport.is_closing():
                    # Less than was promised: only an end without warning tells the client.
                    transport.abort()
                    raise ConnectionResetError("the archive was not sent whole")
                transport.write(piece)
                left -= len(piece)
                await drain(request, transport)


async def save(call: Call) -> Reply:
    """The state as an archive, no older than the request unless `stale` allows it."""
    archives = _archives(call)
    mode, _ = query_params.consistency(call.params)
    saved = await archives.save(stale=mode is Consistency.STALE)
    told: backend.Reply[None] = backend.Reply(
        value=None,
        index=saved.index,
        known_leader=saved.known_leader,
        last_contact_s=saved.last_contact_s,
        consistency=mode,
    )
    headers = call.read_headers(told, effective=False)
    return FileReply(saved.file, saved.size, ARCHIVE_TYPE, headers)


async def restore(call: Call) -> Reply:
    """Replace the state by the archive in the body, on all servers or not at all."""
    archives = _archives(call)
    assert call.stream is not None, "the route's body is a stream"
    await archives.restore(call.stream, call.actor)
    return Reply()


def _archives(call: Call) -> Archives:
    """Those of the datacenter that is asked. Raises RequestError."""
    if call.archives is not None:
        return call.archives
    call.check_datacenter()
    if call.context.archives is None:
        raise RequestError(500, "this agent keeps no snapshots")
    return call.context.archives
