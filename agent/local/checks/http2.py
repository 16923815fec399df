"""One HTTP/2 connection with one question on it: a ping, or a request with a short answer.

Owns the stream; framing and header compression are h2's. A peer's words are bounded: an answer of
more than ``BODY_MAX`` bytes is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions

#: Bytes of an answer; a health service's takes two.
BODY_MAX = 64 * 1024
#: Bytes of the whole conversation: the library would wait for a frame of 16 MB.
HEARD_MAX = 256 * 1024
#: The type of the frame that a server begins with (RFC 9113, section 3.4), and where it stands.
_SETTINGS, _TYPE_AT = 4, 3
_READ_BYTES = 64 * 1024
#: Any eight bytes (RFC 9113, section 6.7).
_PING = b"lictor.."


class Http2Failed(Exception):
    """The connection broke, or what came was no HTTP/2."""


@dataclass(slots=True)
class Answer:
    """An answer; ``headers`` holds its headers and, after them, its trailers."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Http2:
    """Speaks over a stream that its maker opened, and closes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        self._heard = 0
        self._connection.initiate_connection()
        self._flush()

    async def ping(self) -> None:
        """Wait until the peer has answered a ping. Raises Http2Failed."""
        self._connection.ping(_PING)
        self._flush()
        while True:
            for event in await self._events():
                if isinstance(event, h2.events.PingAckReceived) and event.ping_data == _PING:
                    return

    async def ask(self, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        """Send a request with a body and read the whole answer. Raises Http2Failed."""
        stream = self._connection.get_next_available_stream_id()
        self._connection.send_headers(stream, headers)
        self._connection.send_data(stream, body, end_stream=True)
        self._flush()
        answer = Answer()
        while True:
            for event in await self._events():
                if self._take(event, answer):
                    return answer

    def _take(self, event: h2.events.Event, answer: Answer) -> bool:
        """Add an event to the answer; says whether that is whole now."""
        match event:
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                answer.headers.update(_texts(event.headers or ()))
            case h2.events.DataReceived():
                answer.body += event.data or b""
                if len(answer.body) > BODY_MAX:
                    raise Http2Failed(f"the answer is longer than {BODY_MAX} bytes")
                if event.flow_controlled_length:
                    self._connection.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id or 0
                    )
                    self._flush()
            case h2.events.StreamReset():
                raise Http2Failed(f"stream terminated by RST_STREAM with code {event.error_code}")
            case h2.events.StreamEnded():
                return True
        return False

    async def _events(self) -> list[h2.events.Event]:
        try:
            data = await self._reader.read(_READ_BYTES)
        except OSError as error:
            raise Http2Failed(error.strerror or str(error)) from None
        if not data:
            raise Http2Failed("EOF")
        if not self._heard and len(data) > _TYPE_AT and data[_TYPE_AT] != _SETTINGS:
            raise Http2Failed("http2: the server does not begin with its settings")
        self._heard += len(data)
        if self._heard > HEARD_MAX:
            raise Http2Failed(f"the server said more than {HEARD_MAX} bytes")
        try:
            events = self._connection.receive_data(data)
        except (h2.exceptions.ProtocolError, UnicodeDecodeError) as error:
            raise Http2Failed(f"http2: {error}") from None
        self._flush()
        for event in events:
            if isinstance(event, h2.events.ConnectionTerminated) and event.error_code:
                raise Http2Failed(f"http2: server sent GOAWAY with code {event.error_code}")
        return events

    def _flush(self) -> None:
        data = self._connection.data_to_send()
        if data:
            self._writer.write(data)


def _texts(headers: Sequence[tuple[str | bytes, str | bytes]]) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        yield (
            name if isinstance(name, str) else name.decode("utf-8", "replace"),
            value if isinstance(value, str) else value.decode("utf-8", "replace"),
        )
