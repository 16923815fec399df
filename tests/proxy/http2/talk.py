"""HTTP/2 spoken by hand: a client and an application for tests, with the library's own codec."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from proxy.http2.bounds import Rates
from proxy.http2.screen import Screen


@dataclass
class Got:
    """What came on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    reset: int | None = None


class Talk:
    """One end of a connection. Windows are opened at once unless ``greedy`` is off."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        client: bool,
        switches: bool = False,
    ) -> None:
        """``switches``: an application that takes an extended CONNECT."""
        self.codec = H2Connection(H2Configuration(client_side=client, header_encoding="latin-1"))
        if switches:
            told = {SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
            self.codec.local_settings = Settings(client=client, initial_values=told)
        self.codec.initiate_connection()
        # The codec alone would end all streams with a GOAWAY.
        self.screen = Screen(Rates(), preface=not client)
        self.reader, self.writer = reader, writer
        self.streams: dict[int, Got] = defaultdict(Got)
        self.goaway: int | None = None
        self.greedy = True
        self.asked: list[int] = []
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.codec.data_to_send())

    def ask(
        self, path: str, *extra: tuple[str, str], method: str = "GET", ended: bool = True
    ) -> int:
        stream = self.codec.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":authority", "db"), (":path", path)]
        self.codec.send_headers(stream, [*head, *extra], end_stream=ended)
        self.flush()
        return stream

    async def more(self) -> bool:
        """Hear what has come; False at the end."""
        data = await asyncio.wait_for(self.reader.read(65_536), 30)
        if not data:
            return False
        more = True
        while more:
            for event in self.codec.receive_data(self.screen.feed(data, 0.0)):
                self._take(event)
            more, data = self.screen.more, b""
        if self.screen.goaway is not None:
            self.goaway = self.screen.goaway.code
        self.flush()
        return True

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self.streams[event.stream_id].headers = dict(event.headers)
                self.asked.append(event.stream_id)
            case h2.events.ResponseReceived():
                self.streams[event.stream_id].headers = dict(event.headers)
            case h2.events.DataReceived():
                self.streams[event.stream_id].body += event.data
                if self.greedy:
                    self.codec.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
            case h2.events.TrailersReceived():
                self.streams[event.stream_id].trailers = dict(event.headers)
            case h2.events.StreamEnded():
                self.streams[event.stream_id].ended = True
            case h2.events.StreamReset():
                self.streams[event.stream_id].reset = event.error_code

    async def answer(self, stream: int) -> Got:
        """What comes on a stream, to its end."""
        got = self.streams[stream]
        while not got.ended and got.reset is None:
            if not await self.more():
                break
        return got


Answers = Callable[[Talk, int], Awaitable[None]]


def application(answers: Answers) -> Callable[..., Awaitable[None]]:
    """An application that gives each request, once it has ended, to ``answers``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = Talk(reader, writer, client=False)
        while await heard(talk):
            for stream in [each for each in talk.asked if talk.streams[each].ended]:
                talk.asked.remove(stream)
                await answers(talk, stream)
                talk.flush()

    return serve


async def heard(talk: Talk) -> bool:
    """Hear more; what breaks the rules ends the connection."""
    try:
        return await talk.more()
    except (ProtocolError, TimeoutError):
        return False


async def telling(talk: Talk, stream: int) -> None:
    """Answers with the path and size of the request, and a trailer."""
    got = talk.streams[stream]
    talk.codec.send_headers(stream, [(":status", "200"), ("x-who", got.headers[":path"])])
    talk.codec.send_data(stream, b"%d" % len(got.body))
    talk.codec.send_headers(stream, [("x-after", "yes")], end_stream=True)
