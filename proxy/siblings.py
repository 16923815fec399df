"""Questions among the workers of one proxy: each answers for itself at a socket of its own."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from proxy.workers import Place, socket_of

ANSWER_MAX_BYTES = 16 << 20
ANSWER_S = 1.0


class Siblings:
    """The other workers."""

    def __init__(self, place: Place, count: int) -> None:
        self._others = [
            socket_of(place.folder, index) for index in range(count) if index != place.index
        ]

    async def ask(self, path: str) -> list[str]:
        """What they say; who does not answer soon is left out."""
        asked = [self._ask(each, path) for each in self._others]
        return [told for told in await asyncio.gather(*asked) if told is not None]

    async def _ask(self, at: Path, path: str) -> str | None:
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(str(at))
                try:
                    writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost:0\r\n\r\n".encode())
                    head = await reader.readuntil(b"\r\n\r\n")
                    if b" 200 " not in head.partition(b"\r\n")[0]:
                        return None
                    return await _rest(reader)
                finally:
                    writer.close()
        return None


async def _rest(reader: asyncio.StreamReader) -> str | None:
    pieces: list[bytes] = []
    size = 0
    while data := await reader.read(65_536):
        size += len(data)
        if size > ANSWER_MAX_BYTES:
            return None
        pieces.append(data)
    return b"".join(pieces).decode()
