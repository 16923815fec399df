"""A real HTTP/2 server of few words, for the checks that speak to one."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Callable

import h2.config
import h2.connection
import h2.events

#: Headers, body and trailers for a path and a request's body.
Answer = tuple[list[tuple[str, str]], bytes, list[tuple[str, str]]]
Handler = Callable[[dict[str, str], bytes], Answer]


def grpc_answer(message: bytes, status: str = "0", text: str = "") -> Answer:
    """An answer as gRPC's servers give it; without a message only trailers."""
    trailers = [("grpc-status", status), *([("grpc-message", text)] if text else [])]
    head = [(":status", "200"), ("content-type", "application/grpc")]
    if not message:
        return [*head, *trailers], b"", []
    return head, struct.pack(">BI", 0, len(message)) + message, trailers


class _Server(asyncio.Protocol):
    def __init__(self, handler: Handler, *, mute: bool) -> None:
        self._handler = handler
        self._mute = mute
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self._requests: dict[int, tuple[dict[str, str], bytearray]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._mute:
            self._h2.initiate_connection()
            transport.write(self._h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        if self._mute:
            return
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                headers = {str(name): str(value) for name, value in event.headers}
                self._requests[event.stream_id] = (headers, bytearray())
            elif isinstance(event, h2.events.DataReceived):
                self._requests[event.stream_id][1].extend(event.data)
            elif isinstance(event, h2.events.StreamEnded):
                self._answer(event.stream_id)
        self._transport.write(self._h2.data_to_send())

    def _answer(self, stream: int) -> None:
        headers, body = self._requests.pop(stream)
        head, content, trailers = self._handler(headers, bytes(body))
        self._h2.send_headers(stream, head, end_stream=not content and not trailers)
        for at in range(0, len(content), 16_000):
            if self._h2.local_flow_control_window(stream) >= 16_000:
                self._h2.send_data(stream, content[at : at + 16_000])
        if trailers:
            self._h2.send_headers(stream, trailers, end_stream=True)


def _refuse(headers: dict[str, str], body: bytes) -> Answer:
    return [(":status", "404")], b"", []


@contextlib.asynccontextmanager
async def http2_server(
    handler: Handler = _refuse, *, context: ssl.SSLContext | None = None, mute: bool = False
) -> AsyncIterator[str]:
    """Its ``host:port``. A mute one accepts connections and says nothing."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Server(handler, mute=mute), "127.0.0.1", 0, ssl=context
    )
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
