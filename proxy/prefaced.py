"""The beginning of connections that say in a PROXY header who they come from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from proxy import proxy_protocol
from proxy.proxy_protocol import BadPreface

#: A header must be whole in this time (mesh contract D.10).
TIMEOUT_S = 5.0


class Prefaced(asyncio.Protocol):
    """Reads the header and makes way for the protocol that the connection is for."""

    def __init__(
        self,
        make: Callable[[str], asyncio.Protocol],
        *,
        required: bool,
        refused: Callable[[str], None],
    ) -> None:
        """``make`` is given the address that the header names, "" for none."""
        self._make = make
        self._required = required
        self._refused = refused
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._timer = asyncio.get_running_loop().call_later(TIMEOUT_S, self._late)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._buffer += data
        begins = proxy_protocol.begins(self._buffer)
        if begins is False and not self._required:
            self._hand_over("", self._buffer)
            return
        try:
            found = proxy_protocol.read(self._buffer)
        except BadPreface as error:
            self._refuse(str(error))
            return
        if found is not None:
            source = found.source[0] if found.source else ""
            self._hand_over(source, self._buffer[found.size :])

    def eof_received(self) -> bool:
        self._refuse("ended before the PROXY header")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._transport = None

    def _hand_over(self, source: str, rest: bytes) -> None:
        transport, self._transport = self._transport, None
        assert transport is not None
        self._disarm()
        protocol = self._make(source)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if rest:
            protocol.data_received(rest)

    def _late(self) -> None:
        """Without a header that is not required, whoever waits for the server to speak gets on."""
        if self._transport is None:
            return
        if self._required or self._buffer:
            self._refuse("no PROXY header in time")
        else:
            self._hand_over("", b"")

    def _refuse(self, reason: str) -> None:
        transport, self._transport = self._transport, None
        self._disarm()
        if transport is not None:
            self._refused(reason)
            transport.abort()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
