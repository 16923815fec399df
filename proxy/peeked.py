"""The beginning of connections of which the first bytes tell whom they are for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

#: Whoever is to handle the connection, by what has come so far; None: that is not known yet.
Choose = Callable[[bytes, asyncio.Transport], asyncio.Protocol | None]


class Peeked(asyncio.Protocol):
    """Keeps what comes until it is known whom it is for, then makes way with all of it."""

    def __init__(self, choose: Choose, *, late: Choose, timeout_s: float) -> None:
        """``choose`` looks at the connection as it is made, and at what comes; after ``timeout_s``
        it is ``late`` that says who takes it, None to end it."""
        self._choose = choose
        self._late = late
        self._timeout_s = timeout_s
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._timed_out)
        self._look(self._choose)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._look(self._choose)

    def eof_received(self) -> bool:
        self._end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _look(self, choose: Choose) -> None:
        transport = self._transport
        if transport is None:
            return
        protocol = choose(self._buffer, transport)
        if protocol is None:
            return
        self._disarm()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._buffer:
            protocol.data_received(self._buffer)

    def _timed_out(self) -> None:
        self._look(self._late)
        self._end()

    def _end(self) -> None:
        transport = self._transport
        self._disarm()
        if transport is not None:
            transport.abort()

    def _disarm(self) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
