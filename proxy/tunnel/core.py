"""One tunnel connection: streams, windows, floods (RFC 9113; mesh contract D.13).

Pure: bytes and ``now`` in, events back, bytes to write in ``out``. What moves data (`write`,
DATA and WINDOW_UPDATE in `receive`) is short on purpose: it runs for every chunk.
"""

from __future__ import annotations

from proxy.tunnel import frames, greeting, moving
from proxy.tunnel.blocks import Blocks
from proxy.tunnel.channel import Channel
from proxy.tunnel.events import (
    Answered,
    Broken,
    Closed,
    Crossed,
    Data,
    Event,
    Leaving,
    MovedOut,
    Opened,
    Over,
    Writable,
)
from proxy.tunnel.flood import Flood
from proxy.tunnel.frames import HEAD, HEAD_BYTES, TunnelViolation
from proxy.tunnel.limits import TunnelLimits
from proxy.tunnel.peer_settings import PeerSettings
from proxy.tunnel.windows import Receiving

#: What one turn sends of what waits, before the connection is looked at again.
PUMP_BYTES = 262_144


class Tunnel:
    """One end of a connection."""

    def __init__(self, limits: TunnelLimits, *, client: bool, now: float) -> None:
        self.limits = limits
        self.out: list[bytes | memoryview] = []
        self.channels: dict[int, Channel] = {}
        self.leaving = False
        self.broken = ""
        self._client = client
        self._next = 1
        self._last = 0  # the newest stream of the peer
        self._blocked = False
        self._send_left = frames.WINDOW_FIRST
        self._peer = PeerSettings(limits)
        self._frame_max = self._peer.frame_max
        self._waiting: dict[Channel, None] = {}
        self._receiving = Receiving(limits)
        self._idle_frames = Flood(limits.idle_frames_max, now)
        self._rapid_resets = Flood(limits.rapid_resets_max, now)
        self._expected = b"" if client else frames.PREFACE
        self._settled = False
        self._rest = b""
        self._left = 0  # of the DATA frame that is being read
        self._ends = False
        self._reading: Channel | None = None
        self._blocks = Blocks(limits.headers_max_bytes, self._idle_frames)
        self.out += greeting.opening(limits, client=client)

    # What the shell asks for.

    @property
    def is_client(self) -> bool:
        """Whether this end opens the streams."""
        return self._client

    @property
    def reading(self) -> Channel | None:
        """The stream whose bytes came last."""
        return self._reading

    @property
    def room(self) -> bool:
        """Whether another stream of ours would be taken."""
        most = min(self._peer.streams_max, self.limits.streams_max)
        return not (self.leaving or self.broken) and len(self.channels) < most

    def open(self, authority: str, now: float, source: str = "") -> Channel:
        """A new stream of ours; bytes may follow at once."""
        assert self._client
        assert self.room
        channel = self._adopt(self._next, now)
        self._next += 2
        block = frames.connect_block(authority, source)
        self.out.append(frames.frame(frames.HEADERS, frames.END_HEADERS, channel.id, block))
        return channel

    def answer(self, channel: Channel, status: int) -> None:
        """Answer a stream of the peer's, once."""
        if not channel.closed and not channel.answered:
            channel.answered = True
            block = frames.status_block(status)
            self.out.append(frames.frame(frames.HEADERS, frames.END_HEADERS, channel.id, block))

    def write(self, channel: Channel, data: bytes) -> bool:
        """Send bytes. False: some of them wait, and `Writable` will come."""
        size = len(data)
        if (
            size <= channel.send_left
            and size <= self._send_left
            and size <= self._frame_max
            and not self._blocked
            and not channel.waiting
        ):
            channel.send_left -= size
            self._send_left -= size
            channel.moved += size
            self.out.append(HEAD.pack(size << 8, 0, channel.id))
            self.out.append(data)
            return True
        if channel.local_over or channel.closed:
            return True
        rest = memoryview(data)
        if not (self._blocked or channel.waiting):
            rest = self._send_now(channel, rest)
            if not rest:
                return True
        channel.waiting.append(rest)
        self._waiting[channel] = None
        return False

    def _send_now(self, channel: Channel, data: memoryview) -> memoryview:
        """Send what the windows take; the rest."""
        while data:
            size = min(len(data), channel.send_left, self._send_left, self._frame_max)
            if size <= 0:
                break
            channel.send_left -= size
            self._send_left -= size
            channel.moved += size
            self.out.append(HEAD.pack(size << 8, 0, channel.id))
            self.out.append(data[:size])
            data = data[size:]
        return data

    def end(self, channel: Channel) -> list[Event]:
        """No more will be written on a stream."""
        events: list[Event] = []
        if not (channel.local_over or channel.closed):
            channel.local_over = True
            if not channel.waiting:
                self._send_end(channel, events)
        return events

    @property
    def takes_offers(self) -> bool:
        """Whether the peer lets a stream go on over a connection of its own."""
        return self._peer.takes_offers

    def offer(self, channel: Channel, token: bytes) -> None:
        """Offer to go on with a stream over the connection that begins with this token."""
        channel.offered = True
        self.out.append(frames.frame(frames.OFFER, 0, channel.id, token))

    def move_out(self, channel: Channel) -> list[Event]:
        """Send nothing more of a stream here than what was written: the rest goes elsewhere."""
        channel.moves_out = not channel.local_over
        return self.end(channel)

    def reset(self, channel: Channel, code: int = frames.CANCEL) -> None:
        """Give a stream up."""
        if not channel.closed:
            self.out.append(frames.rst_stream(channel.id, code))
            self._forget(channel)

    def read_on(self, channel: Channel, now: float) -> None:
        """What comes on a stream is taken from now on: its window moves."""
        channel.reads = True
        self._credit(channel, now)

    def block(self) -> None:
        """The connection takes no more for now."""
        self._blocked = True

    def pump(self, budget: int = PUMP_BYTES) -> list[Event]:
        """The connection takes so many bytes: send what waits, each stream in turn."""
        self._blocked = False
        events: list[Event] = []
        self._send_waiting(budget, events)
        return events

    @property
    def waits(self) -> bool:
        """Whether `pump` would send something."""
        return bool(self._waiting) and self._send_left > 0

    def leave(self) -> None:
        """Take no new streams; those that stand go on."""
        if not self.leaving and not self.broken:
            self.leaving = True
            self.out.append(frames.goaway(self._last, frames.NO_ERROR))

    def take(self) -> bytes:
        """What is to be written now."""
        out, self.out = self.out, []
        return b"".join(out)

    # What comes.

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Bytes from the peer."""
        events: list[Event] = []
        if self.broken:
            return events
        try:
            self._parse(data, now, events)
        except TunnelViolation as error:
            self.broken = str(error)
            self.out.append(frames.goaway(self._last, error.code, self.broken))
            events.append(Broken(self.broken))
        return events

    def _parse(self, data: bytes, now: float, events: list[Event]) -> None:
        if self._expected:
            data, self._expected = greeting.take_off(data, self._expected)
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, size = 0, len(data)
        while at < size:
            if self._left:
                most = size - at
                if self._left < most:
                    most = self._left
                piece = data if most == size else data[at : at + most]
                at += most
                self._left -= most
                if self._reading is not None:
                    self._reading.moved += most
                    events.append(Data(self._reading, piece))
                    if self._ends and not self._left:
                        self._ended(self._reading, events)
                continue
            if size - at < HEAD_BYTES:
                self._rest = data[at:]
                return
            word, flags, stream = HEAD.unpack_from(data, at)
            length, kind = word >> 8, word & 0xFF
            if length > self.limits.frame_max_bytes:
                raise TunnelViolation(frames.FRAME_SIZE_ERROR, "frame too long")
            if not self._settled and kind != frames.SETTINGS:
                raise TunnelViolation(frames.PROTOCOL_ERROR, "no SETTINGS first")
            if kind == frames.DATA and not self._blocks.goes_on:
                if flags & frames.PADDED:
                    raise TunnelViolation(frames.PROTOCOL_ERROR, "padding is not taken")
                at += HEAD_BYTES
                self._begin_data(stream, length, bool(flags & frames.END_STREAM), now, events)
                continue
            if length > self.limits.headers_max_bytes:
                raise TunnelViolation(frames.ENHANCE_YOUR_CALM, "frame too long for its kind")
            if size - at < HEAD_BYTES + length:
                self._rest = data[at:]
                return
            at += HEAD_BYTES + length
            self._control(kind, flags, stream, data[at - length : at], now, events)

    def _begin_data(
        self, stream: int, length: int, ends: bool, now: float, events: list[Event]
    ) -> None:
        channel = self.channels.get(stream)
        if more := self._receiving.took(length):
            self.out.append(frames.window_update(0, more))
        self._left, self._ends, self._reading = length, ends, channel
        if channel is None:
            self._must_have_been(stream)
            if not length:
                self._idle_frames.count(now)
            return
        if channel.remote_over or length > channel.receive_left:
            over = channel.remote_over
            code = frames.STREAM_CLOSED if over else frames.FLOW_CONTROL_ERROR
            self.reset(channel, code)
            events.append(Closed(channel, code))
            self._reading = None
            return
        if length:
            channel.receive_left -= length
            channel.owed += length
            if channel.reads and channel.owed * 2 >= channel.window:
                self._credit(channel, now)
        elif ends:
            self._ended(channel, events)
        else:
            self._idle_frames.count(now)

    def _ended(self, channel: Channel, events: list[Event]) -> None:
        channel.remote_over = True
        events.append(Over(channel))
        self._gone_if_over(channel, events)

    def _control(
        self, kind: int, flags: int, stream: int, payload: bytes, now: float, events: list[Event]
    ) -> None:
        if self._blocks.goes_on and kind != frames.CONTINUATION:
            raise TunnelViolation(frames.PROTOCOL_ERROR, "headers were interrupted")
        match kind:
            case frames.WINDOW_UPDATE:
                self._more_window(stream, frames.read_word(payload), events)
            case frames.HEADERS | frames.CONTINUATION:
                self._headers(kind, flags, stream, payload, now, events)
            case frames.RST_STREAM:
                self._was_reset(stream, frames.read_word(payload), now, events)
            case frames.SETTINGS:
                self._settings(flags, stream, payload, now)
            case frames.PING:
                self._idle_frames.count(now)
                if len(payload) != 8 or stream:
                    raise TunnelViolation(frames.FRAME_SIZE_ERROR, "bad PING")
                if not flags & frames.ACK:
                    self.out.append(frames.frame(frames.PING, frames.ACK, 0, payload))
            case frames.GOAWAY:
                self._goaway(payload, events)
            case frames.OFFER | frames.MOVED:
                self._moves(kind, stream, payload, now, events)
            case frames.PUSH_PROMISE:
                raise TunnelViolation(frames.PROTOCOL_ERROR, "nobody asked for a push")
            case _:  # PRIORITY and kinds that nobody knows are let pass (section 5.5)
                self._idle_frames.count(now)

    def _more_window(self, stream: int, more: int, events: list[Event]) -> None:
        more &= frames.WINDOW_MAX
        if not stream:
            self._send_left += more
            if not more or self._send_left > frames.WINDOW_MAX:
                raise TunnelViolation(frames.FLOW_CONTROL_ERROR, "bad window of the connection")
        else:
            channel = self.channels.get(stream)
            if channel is None:
                self._must_have_been(stream)
                return
            channel.send_left += more
            if not more or channel.send_left > frames.WINDOW_MAX:
                self.reset(channel, frames.FLOW_CONTROL_ERROR)
                events.append(Closed(channel, frames.FLOW_CONTROL_ERROR))
                return
            if channel.waiting:
                self._waiting[channel] = None
        if self._waiting and not self._blocked:
            self._send_waiting(PUMP_BYTES, events)

    def _headers(
        self, kind: int, flags: int, stream: int, payload: bytes, now: float, events: list[Event]
    ) -> None:
        block = self._blocks.add(kind, flags, stream, payload, now)
        if block is None:
            return
        headers, ends = block
        if self._client:
            self._answered(stream, headers.get(":status", ""), ends, events)
        else:
            self._opened(stream, dict(headers), ends, now, events)

    def _answered(self, stream: int, status: str, ends: bool, events: list[Event]) -> None:
        channel = self.channels.get(stream)
        if channel is None:
            self._must_have_been(stream)
            return
        if channel.answered or not (status.isascii() and status.isdigit() and len(status) == 3):
            raise TunnelViolation(frames.PROTOCOL_ERROR, "an answer that is none")
        if status.startswith("1"):
            return
        channel.answered = True
        events.append(Answered(channel, int(status)))
        if ends:
            self._ended(channel, events)

    def _opened(
        self, stream: int, headers: dict[str, str], ends: bool, now: float, events: list[Event]
    ) -> None:
        if stream in self.channels:
            raise TunnelViolation(frames.PROTOCOL_ERROR, "headers twice")
        if stream <= self._last or not stream % 2:
            raise TunnelViolation(frames.PROTOCOL_ERROR, "bad number of a stream")
        self._last = stream
        if self.leaving or len(self.channels) >= self.limits.streams_max:
            self._rapid_resets.count(now)
            self.out.append(frames.rst_stream(stream, frames.REFUSED_STREAM))
            return
        if headers.get(":method") != "CONNECT" or ":path" in headers or ends:
            self._rapid_resets.count(now)
            self.out.append(frames.rst_stream(stream, frames.PROTOCOL_ERROR))
            return
        events.append(Opened(self._adopt(stream, now), headers.get(":authority", "")))

    def _was_reset(self, stream: int, code: int, now: float, events: list[Event]) -> None:
        channel = self.channels.get(stream)
        if channel is None:
            self._must_have_been(stream)
            return
        if not channel.answered and not self._client:
            self._rapid_resets.count(now)
        self._forget(channel)
        events.append(Closed(channel, code or frames.CANCEL))

    def _moves(
        self, kind: int, stream: int, payload: bytes, now: float, events: list[Event]
    ) -> None:
        channel = self.channels.get(stream)
        if channel is None:
            self._must_have_been(stream)
            self._idle_frames.count(now)
        else:
            events.append(moving.came(channel, kind, payload, client=self._client))
            self._gone_if_over(channel, events)

    def _settings(self, flags: int, stream: int, payload: bytes, now: float) -> None:
        self._idle_frames.count(now)
        if stream or (flags & frames.ACK and payload):
            raise TunnelViolation(frames.PROTOCOL_ERROR, "bad SETTINGS")
        self._settled = True
        if flags & frames.ACK:
            return
        channels = self.channels.values()
        self._peer.read(payload, channels)
        self._frame_max = self._peer.frame_max
        self._waiting |= {channel: None for channel in channels if channel.waiting}
        self.out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))

    def _goaway(self, payload: bytes, events: list[Event]) -> None:
        if len(payload) < 8:
            raise TunnelViolation(frames.FRAME_SIZE_ERROR, "short GOAWAY")
        last = frames.read_word(payload[:4]) & frames.WINDOW_MAX
        self.leaving = True
        events.append(Leaving())
        if self._client:
            for channel in [each for id_, each in self.channels.items() if id_ > last]:
                self._forget(channel)
                events.append(Closed(channel, frames.REFUSED_STREAM))

    # What several of them do.

    def _adopt(self, stream: int, now: float) -> Channel:
        window = self.limits.stream_window_bytes
        channel = Channel(stream, self._peer.first_window, window, now)
        self._receiving.windows += window
        self.channels[stream] = channel
        return channel

    def _must_have_been(self, stream: int) -> None:
        """Frames may still come for a stream that is gone, never for one that was not yet."""
        ours = stream % 2 == 1 and self._client
        known = stream < self._next if ours else (stream <= self._last and not self._client)
        if not stream or not known:
            raise TunnelViolation(frames.PROTOCOL_ERROR, "a frame for a stream that never was")

    def _credit(self, channel: Channel, now: float) -> None:
        more = self._receiving.credit(channel, now)
        if more and not channel.remote_over and not channel.closed:
            self.out.append(frames.window_update(channel.id, more))

    def _send_waiting(self, budget: int, events: list[Event]) -> None:
        waiting, slice_ = self._waiting, min(self.limits.slice_bytes, self._frame_max)
        while waiting and budget > 0 and self._send_left > 0:
            channel = next(iter(waiting))
            del waiting[channel]
            size = min(slice_, channel.send_left, self._send_left)
            if size <= 0:
                continue  # its window will bring it back
            pieces, sent = channel.cut(size)
            channel.send_left -= sent
            self._send_left -= sent
            channel.moved += sent
            budget -= sent
            self.out.append(HEAD.pack(sent << 8, 0, channel.id))
            self.out += pieces
            if channel.waiting:
                waiting[channel] = None
            elif channel.local_over:
                self._send_end(channel, events)
            else:
                events.append(Writable(channel))

    def _send_end(self, channel: Channel, events: list[Event]) -> None:
        if channel.moves_out:
            self.out.append(HEAD.pack(frames.MOVED, 0, channel.id))
            events.append(MovedOut(channel))
        else:
            self.out.append(HEAD.pack(frames.DATA, frames.END_STREAM, channel.id))
        channel.end_sent = True
        self._gone_if_over(channel, events)

    def _gone_if_over(self, channel: Channel, events: list[Event]) -> None:
        if channel.remote_over and channel.end_sent and not channel.closed:
            self._forget(channel)
            moved = channel.moves_in or channel.moves_out
            events.append(Crossed(channel) if moved else Closed(channel))

    def _forget(self, channel: Channel) -> None:
        channel.closed = True
        channel.local_over = True
        channel.send_left = -1  # so that the short way of `write` is closed as well
        channel.waiting.clear()
        self._waiting.pop(channel, None)
        self._receiving.windows -= channel.window
        self.channels.pop(channel.id, None)
        if self._reading is channel:
            self._reading = None
