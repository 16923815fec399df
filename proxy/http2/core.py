"""One HTTP/2 connection without its socket: bytes in, events out, bytes to send kept (RFC 9113).

Pure; ``now`` is given. Frames and their compression are those of the library ``h2``; what it leaves
to its user is decided here: how headers are read, how many streams there may be, what is too much,
and how a connection ends without ending its streams.
"""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.events import (
    Event as Raw,
)
from h2.exceptions import ProtocolError as CodecError
from h2.settings import SettingCodes, Settings
from hpack import HeaderTuple, NeverIndexedHeaderTuple
from hyperframe.frame import GoAwayFrame

from proxy.errors import HttpViolation, ProxyError
from proxy.http2 import fields
from proxy.http2.bounds import Bounds
from proxy.http2.events import Answered, Asked, Broken, Event, Leaving, Over, Piece, Room
from proxy.http2.fields import Fields
from proxy.http2.screen import ENHANCE_YOUR_CALM, Flood, Screen

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR = 0x0, 0x1, 0x2
REFUSED_STREAM, CANCEL = 0x7, 0x8
_STREAM_ID_MAX = 2**31 - 1
_LAST_CALL = b"lictor-g"
#: Never kept in a compression table, from whose size others could guess them (RFC 7541, 7.1).
_SECRET = frozenset({"authorization", "cookie", "set-cookie", "x-consul-token"})


class Ended(ProxyError):
    """The connection cannot go on; what is to be sent last stands in ``taken``."""


class Core:
    """A connection's streams. ``client``: we dialled it and ask."""

    def __init__(self, bounds: Bounds, *, client: bool) -> None:
        self._bounds = bounds
        self._client = client
        self._screen = Screen(bounds.rates, preface=not client)
        self._h2 = H2Connection(
            H2Configuration(
                client_side=client,
                header_encoding="latin-1",
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        told = {
            SettingCodes.MAX_CONCURRENT_STREAMS: bounds.streams_max,
            SettingCodes.INITIAL_WINDOW_SIZE: bounds.stream_window_bytes,
            SettingCodes.MAX_HEADER_LIST_SIZE: bounds.header_bytes_max,
            SettingCodes.ENABLE_PUSH: 0,
        }
        if not client:
            told[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        self._h2.local_settings = Settings(client=client, initial_values=told)
        self._h2.decoder.max_header_list_size = bounds.header_bytes_max
        self._h2.initiate_connection()
        # A peer may open streams before it has heard how many: we refuse one too many, while the
        # codec would end the connection.
        told[SettingCodes.MAX_CONCURRENT_STREAMS] = _STREAM_ID_MAX
        self._h2.local_settings = Settings(client=client, initial_values=told)
        self._h2.increment_flow_control_window(
            max(1, bounds.streams_max * bounds.stream_window_bytes - 65_535)
        )
        self._extra = b""
        self._open: set[int] = set()
        #: Of these: those that one side has ended, and those that both have.
        self._half: set[int] = set()
        self._passed: set[int] = set()
        self._last = 0
        self._refused = 0
        self._leaving: GoAwayFrame | None = None
        self.peer_left = False
        #: Whether the peer has told its settings: it speaks HTTP/2.
        self.heard = False

    @property
    def open_streams(self) -> int:
        """How many streams are under way."""
        return len(self._open)

    @property
    def switches(self) -> bool:
        """Whether the peer takes an extended CONNECT (RFC 8441, section 3)."""
        return self._h2.remote_settings.enable_connect_protocol == 1

    @property
    def room(self) -> int:
        """How many more streams may be opened by us."""
        if self.peer_left or self._h2.highest_outbound_stream_id > _STREAM_ID_MAX - 4:
            return 0
        peer = self._h2.remote_settings.max_concurrent_streams
        return min(self._bounds.streams_max, peer) - len(self._open)

    def taken(self) -> bytes:
        """What is to be sent; it is then no longer kept."""
        extra, self._extra = self._extra, b""
        return self._h2.data_to_send() + extra

    # Receiving.

    @property
    def more(self) -> bool:
        """Whether frames that have come are left for another ``receive``."""
        return self._screen.more

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Bytes of the peer, up to a number of frames: when there is ``more``, call again, with b""
        for example. Raises Ended when it broke the rules of a connection."""
        try:
            passed = self._screen.feed(data, now)
            raw = self._h2.receive_data(passed) if passed else []
        except Flood as error:
            self._farewell(error.code)
            raise Ended(str(error)) from error
        except CodecError as error:
            raise Ended(f"{type(error).__name__}: {error}") from error
        events: list[Event] = []
        for each in raw:
            events += self._event(each)
        if (goaway := self._screen.goaway) is not None:
            self._screen.goaway = None
            self.peer_left = True
            events.append(Leaving(goaway.code))
            unseen = [each for each in sorted(self._open) if each > goaway.last_stream_id]
            if self._client:
                for unheard in unseen:
                    self.finished(unheard)
                events += [Broken(each, REFUSED_STREAM, refused=True) for each in unseen]
        return events

    def _event(self, raw: Raw) -> list[Event]:
        match raw:
            case RequestReceived():
                return self._asked(raw)
            case ResponseReceived() if raw.stream_id in self._open:
                return self._answered(raw)
            case DataReceived():
                if raw.stream_id not in self._open:
                    self.credit(raw.stream_id, raw.flow_controlled_length)
                    return []
                return [Piece(raw.stream_id, raw.data, raw.flow_controlled_length)]
            case TrailersReceived() if raw.stream_id in self._open:
                return self._over(raw.stream_id, raw.headers or [])
            case StreamEnded() if raw.stream_id in self._open:
                self._ended(raw.stream_id)
                return [Over(raw.stream_id)]
            case StreamReset() if raw.stream_id in self._open:
                self.finished(raw.stream_id)
                code = int(raw.error_code or 0)
                return [Broken(raw.stream_id, code, refused=code == REFUSED_STREAM)]
            case RemoteSettingsChanged():
                self.heard = True
                return [Room()]
            case WindowUpdated():
                return [Room()]
            case PingAckReceived() if raw.ping_data == _LAST_CALL and self._leaving is not None:
                self._leaving = None
                self._goaway(self._last, NO_ERROR)
        return []

    def _asked(self, raw: RequestReceived) -> list[Event]:
        stream_id, ended = raw.stream_id, raw.stream_ended is not None
        self._last = max(self._last, stream_id)
        if self._full:
            self._h2.reset_stream(stream_id, REFUSED_STREAM)
            self._refused += 1
            if self._refused > self._bounds.rates.resets_max:
                self._farewell(ENHANCE_YOUR_CALM)
                raise Ended("streams go on to be opened that are refused")
            return []
        self._open.add(stream_id)
        try:
            request = fields.read_request(_text(raw.headers))
            fields.framing(request.headers, ended=ended, bodied=True)
        except HttpViolation as error:
            return [self._break(stream_id, str(error))]
        return [Asked(stream_id, request, ended)]

    @property
    def _full(self) -> bool:
        """Whether one stream more is too many. The peer counts those that both sides have not ended
        (RFC 9113, section 5.1.2), and may open the next as soon as it has the end of an answer,
        while whoever gave the answer is still here: of those there may be as many again."""
        most = self._bounds.streams_max
        return len(self._open) - len(self._passed) >= most or len(self._open) >= 2 * most

    def _ended(self, stream_id: int) -> None:
        """One side has ended a stream."""
        if stream_id in self._half:
            self._half.discard(stream_id)
            self._passed.add(stream_id)
        elif stream_id in self._open and stream_id not in self._passed:
            self._half.add(stream_id)

    def _answered(self, raw: ResponseReceived) -> list[Event]:
        try:
            response = fields.read_response(_text(raw.headers))
            fields.framing(response.headers, ended=raw.stream_ended is not None)
        except HttpViolation as error:
            return [self._break(raw.stream_id, str(error))]
        return [Answered(raw.stream_id, response, raw.stream_ended is not None)]

    def _over(self, stream_id: int, trailers: object) -> list[Event]:
        try:
            return [Over(stream_id, fields.read_trailers(_text(trailers)))]
        except HttpViolation as error:
            return [self._break(stream_id, str(error))]

    def _break(self, stream_id: int, why: str) -> Broken:
        self.reset(stream_id, PROTOCOL_ERROR)
        return Broken(stream_id, PROTOCOL_ERROR, by_us=why)

    # Sending. What goes to a stream that is over goes nowhere: its end was told as an event.

    def ask(self, wanted: Fields, *, ended: bool) -> int:
        """Open a stream with a request. Only when there is ``room``."""
        stream_id = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream_id, _packed(wanted), end_stream=ended)
        self._open.add(stream_id)
        if ended:
            self._ended(stream_id)
        return stream_id

    def headers(self, stream_id: int, given: Fields, *, ended: bool) -> bool:
        """Headers or trailers; whether the stream was there to take them."""
        if stream_id not in self._open:
            return False
        try:
            self._h2.send_headers(stream_id, _packed(given), end_stream=ended)
        except CodecError:
            return False
        if ended:
            self._ended(stream_id)
        return True

    def window(self, stream_id: int) -> int:
        """How much may be sent on a stream now; -1 when it is over."""
        if stream_id not in self._open:
            return -1
        try:
            return max(0, self._h2.local_flow_control_window(stream_id))
        except CodecError:
            return -1

    def data(self, stream_id: int, data: bytes | memoryview, *, ended: bool) -> bool:
        """Bytes of a body, no more than its window; whether the stream was there."""
        if stream_id not in self._open:
            return False
        most, view = self._h2.max_outbound_frame_size, memoryview(data)
        try:
            while len(view) > most:
                self._h2.send_data(stream_id, view[:most].tobytes())
                view = view[most:]
            self._h2.send_data(stream_id, view.tobytes(), end_stream=ended)
        except CodecError:
            return False
        if ended:
            self._ended(stream_id)
        return True

    def credit(self, stream_id: int, size: int) -> None:
        """These bytes were read: the peer may send as many more."""
        if size:
            try:
                self._h2.acknowledge_received_data(size, stream_id)
            except CodecError:  # the connection is at its end
                return

    def reset(self, stream_id: int, code: int) -> None:
        """End a stream at once."""
        if stream_id in self._open:
            self.finished(stream_id)
            try:
                self._h2.reset_stream(stream_id, code)
            except CodecError:
                return

    def finished(self, stream_id: int) -> None:
        """Nobody looks at a stream any more."""
        for each in (self._open, self._half, self._passed):
            each.discard(stream_id)

    # Ending.

    def leave(self) -> None:
        """Take no more streams: first say so, and after a round trip which was the last taken."""
        if self._leaving is None:
            self._leaving = GoAwayFrame(0)
            self._goaway(_STREAM_ID_MAX, NO_ERROR)
            self._h2.ping(_LAST_CALL)

    def _farewell(self, code: int) -> None:
        self._goaway(self._last, code)

    def _goaway(self, last: int, code: int) -> None:
        frame = GoAwayFrame(0, last_stream_id=last, error_code=ErrorCodes(code))
        self._extra += self._h2.data_to_send() + frame.serialize()


def _text(given: object) -> list[tuple[str, str]]:
    """Headers as the codec gives them."""
    found: list[tuple[str, str]] = []
    for each in given or ():  # type: ignore[attr-defined]
        name, value = each
        found.append((_str(name), _str(value)))
    return found


def _str(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _packed(given: Fields) -> list[HeaderTuple]:
    return [
        (NeverIndexedHeaderTuple if name in _SECRET else HeaderTuple)(
            name.encode("latin-1", "replace"), value.encode("latin-1", "replace")
        )
        for name, value in given
    ]
