"""Two ends of a tunnel joined by bytes that are cut anywhere; and peers that break the rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.tunnel import frames
from proxy.tunnel.channel import Channel
from proxy.tunnel.core import Tunnel
from proxy.tunnel.events import (
    Answered,
    Broken,
    Closed,
    Crossed,
    Data,
    Event,
    Leaving,
    MovedIn,
    MovedOut,
    Offered,
    Opened,
    Over,
    Writable,
)
from proxy.tunnel.limits import TunnelLimits
from tests.strategies import scaled

SMALL = TunnelLimits(
    streams_max=4,
    stream_window_bytes=1000,
    stream_window_max_bytes=4000,
    windows_max_bytes=8000,
    connection_window_bytes=70_000,
    slice_bytes=300,
)


def pair(limits: TunnelLimits = SMALL) -> tuple[Tunnel, Tunnel]:
    """Client and server after their settings."""
    client, server = Tunnel(limits, client=True, now=0.0), Tunnel(limits, client=False, now=0.0)
    for _ in range(2):
        assert server.receive(client.take(), 0.0) == []
        assert client.receive(server.take(), 0.0) == []
    return client, server


def test_a_stream_says_what_it_is_and_who_asks() -> None:
    client, _ = pair()
    client.open("db.dc1", 0.0, "web.dc1")
    block = client.take()[frames.HEAD.size :]
    assert frames.read_block(block) == {
        ":method": "CONNECT",
        ":authority": "db.dc1",
        "x-lictor-stream": "tcp",
        "x-lictor-source": "web.dc1",
    }


def opened(client: Tunnel, server: Tunnel) -> tuple[Channel, Channel]:
    """A stream as both ends see it, answered and read on."""
    ours = client.open("db.dc1", 0.0)
    (event,) = server.receive(client.take(), 0.0)
    assert isinstance(event, Opened)
    assert event.authority == "db.dc1"
    server.answer(event.channel, 200)
    server.read_on(event.channel, 0.0)
    client.read_on(ours, 0.0)
    assert client.receive(server.take(), 0.0) == [Answered(ours, 200)]
    return ours, event.channel


def test_bytes_and_ends_pass_both_ways() -> None:
    client, server = pair()
    ours, theirs = opened(client, server)
    assert client.write(ours, b"hello")
    assert client.end(ours) == []
    assert server.receive(client.take(), 0.0) == [Data(theirs, b"hello"), Over(theirs)]
    assert server.write(theirs, b"back")
    assert server.end(theirs) == [Closed(theirs)]
    assert client.receive(server.take(), 0.0) == [Data(ours, b"back"), Over(ours), Closed(ours)]
    assert not client.channels
    assert not server.channels


def test_a_stream_that_is_not_read_holds_its_writer_back_and_nobody_else() -> None:
    client, server = pair()
    slow, slow_there = opened(client, server)
    quick, quick_there = opened(client, server)
    server_reads = [slow_there]
    for channel in server_reads:
        channel.reads = False
    assert not client.write(slow, b"s" * 5000)
    assert client.write(quick, b"q")
    events = server.receive(client.take(), 0.0)
    assert (
        sum(len(e.data) for e in events if isinstance(e, Data) and e.channel is slow_there) == 1000
    )
    assert Data(quick_there, b"q") in events
    assert client.receive(server.take(), 0.0) == []
    assert client.take() == b""  # nothing was granted
    for _ in range(20):
        server.read_on(slow_there, 9.0)
        last = client.receive(server.take(), 9.0)
        server.receive(client.take(), 9.0)
        if last:
            break
    assert last == [Writable(slow)]


def test_a_window_grows_while_its_reader_keeps_up_and_all_windows_have_a_bound() -> None:
    client, server = pair()
    ours, theirs = opened(client, server)
    for turn in range(40):
        client.write(ours, b"x" * 600)
        server.receive(client.take(), turn * 0.001)
        client.receive(server.take(), turn * 0.001)
    assert theirs.window == 4000
    channels = [opened(client, server) for _ in range(3)]
    for turn in range(40):
        for one, _ in channels:
            client.write(one, b"x" * 600)
        server.receive(client.take(), 1 + turn * 0.001)
        client.receive(server.take(), 1 + turn * 0.001)
    assert sum(each.window for each in server.channels.values()) <= 8000


TOKEN = b"t" * frames.TOKEN_BYTES


def test_a_stream_moves_after_all_that_was_written_and_leaves_nothing_behind() -> None:
    client, server = pair()
    ours, theirs = opened(client, server)
    assert client.takes_offers
    client.offer(ours, TOKEN)
    assert server.receive(client.take(), 0.0) == [Offered(theirs, TOKEN)]
    assert not server.write(theirs, b"x" * 1500)  # half of it waits for the window
    assert server.move_out(theirs) == []
    events = client.receive(server.take(), 0.0)
    assert [type(each) for each in events] == [Data]
    client.read_on(ours, 9.0)
    assert MovedOut(theirs) in server.receive(client.take(), 9.0)
    *data, last = client.receive(server.take(), 9.0)
    assert sum(len(each.data) for each in [*events, *data] if isinstance(each, Data)) == 1500
    assert last == MovedIn(ours)
    assert client.move_out(ours) == [MovedOut(ours), Crossed(ours)]
    assert server.receive(client.take(), 9.0) == [MovedIn(theirs), Crossed(theirs)]
    assert not client.channels
    assert not server.channels


def test_a_direction_that_has_ended_does_not_move_and_the_other_does() -> None:
    client, server = pair()
    ours, theirs = opened(client, server)
    client.offer(ours, TOKEN)
    client.end(ours)
    assert server.receive(client.take(), 0.0) == [Offered(theirs, TOKEN), Over(theirs)]
    assert server.move_out(theirs) == [MovedOut(theirs), Crossed(theirs)]
    assert client.receive(server.take(), 0.0) == [MovedIn(ours), Crossed(ours)]
    assert client.move_out(ours) == []


def test_a_peer_that_never_heard_of_it_gets_no_offers() -> None:
    client, server = pair(replace(SMALL, own_streams_max=0))
    assert not client.takes_offers
    assert not server.takes_offers


@pytest.mark.parametrize("raw", [
    frames.frame(frames.MOVED, 0, 1),
    frames.frame(frames.OFFER, 0, 1, b"short"),
    frames.frame(frames.OFFER, 0, 1, TOKEN) * 2,
    frames.frame(frames.OFFER, 0, 1, TOKEN) + frames.frame(frames.MOVED, 0, 1) * 2,
    frames.frame(frames.OFFER, 0, 3, TOKEN),
])  # fmt: skip
def test_words_about_moving_that_nobody_may_say(raw: bytes) -> None:
    client, server = pair()
    opened(client, server)
    assert isinstance(server.receive(raw, 0.0)[-1], Broken)


def test_nobody_makes_offers_to_the_side_that_dialled() -> None:
    client, server = pair()
    opened(client, server)
    last = client.receive(frames.frame(frames.OFFER, 0, 1, TOKEN), 0.0)[-1]
    assert last == Broken("an offer that is none")


def test_waiting_streams_take_turns() -> None:
    client, server = pair(replace(SMALL, stream_window_bytes=10_000))
    one, one_there = opened(client, server)
    two, _ = opened(client, server)
    client.block()
    assert not client.write(one, b"1" * 900)
    assert not client.write(two, b"2" * 900)
    assert not client.out
    assert client.pump(900) == []
    events = server.receive(client.take(), 0.0)
    assert [(e.channel is one_there, len(e.data)) for e in events if isinstance(e, Data)] == [
        (True, 300), (False, 300), (True, 300),
    ]  # fmt: skip
    assert client.waits
    assert set(client.pump()) == {Writable(one), Writable(two)}


def test_an_end_waits_for_the_bytes_before_it() -> None:
    client, server = pair()
    ours, theirs = opened(client, server)
    client.block()
    client.write(ours, b"last words")
    assert client.end(ours) == []
    client.pump()
    assert server.receive(client.take(), 0.0) == [Data(theirs, b"last words"), Over(theirs)]


def test_a_reset_ends_one_stream_alone() -> None:
    client, server = pair()
    one, one_there = opened(client, server)
    two, two_there = opened(client, server)
    client.write(one, b"lost")
    client.reset(one)
    client.write(two, b"kept")
    events = server.receive(client.take(), 0.0)
    assert Closed(one_there, frames.CANCEL) in events
    assert Data(two_there, b"kept") in events
    assert client.write(one, b"nowhere")
    server.write(one_there, b"late")
    assert b"late" not in server.take()
    assert not client.broken


def test_streams_above_the_limit_are_refused_and_the_client_knows_the_limit() -> None:
    client, server = pair()
    for _ in range(4):
        opened(client, server)
    assert not client.room
    raw = frames.frame(frames.HEADERS, frames.END_HEADERS, 99, frames.connect_block("db.dc1"))
    assert server.receive(raw, 0.0) == []
    assert server.take() == frames.rst_stream(99, frames.REFUSED_STREAM)


def test_whoever_leaves_takes_no_new_streams_and_keeps_the_old() -> None:
    client, server = pair()
    ours, theirs = opened(client, server)
    late = client.open("db.dc1", 0.0)
    server.leave()
    events = client.receive(server.take(), 0.0)
    assert events == [Leaving(), Closed(late, frames.REFUSED_STREAM)]
    assert not client.room
    assert server.receive(client.take(), 0.0) == []
    client.receive(server.take(), 0.0)
    client.write(ours, b"still")
    assert server.receive(client.take(), 0.0) == [Data(theirs, b"still")]


def test_a_denied_stream_says_so_and_ends() -> None:
    client, server = pair()
    ours = client.open("db.dc1", 0.0)
    client.write(ours, b"too early")
    event = server.receive(client.take(), 0.0)[0]
    server.answer(event.channel, 403)
    assert server.end(event.channel) == []
    assert client.receive(server.take(), 0.0) == [Answered(ours, 403), Over(ours)]


# Peers that break the rules: the connection ends with a reason, never with an exception.

CONNECT = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, frames.connect_block("db.dc1"))
PING = frames.frame(frames.PING, 0, 0, b"12345678")
VIOLATIONS = {
    "a window of nothing for the connection": frames.window_update(0, 0),
    "the connection's window overflows": frames.window_update(0, frames.WINDOW_MAX),
    "data before headers": frames.frame(frames.DATA, 0, 1, b"x"),
    "data on stream 0": frames.frame(frames.DATA, 0, 0, b"x"),
    "a reset of a stream that never was": frames.rst_stream(7, 0),
    "a window of a stream that never was": frames.window_update(7, 1),
    "an even stream": CONNECT[:5] + b"\0\0\0\2" + CONNECT[9:],
    "headers twice": CONNECT + CONNECT,
    "headers that are none": frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff" * 9),
    "headers too long": frames.frame(frames.HEADERS, 0, 1, b"x" * 8000)
    + frames.frame(frames.CONTINUATION, 0, 1, b"x" * 8000),
    "headers that are interrupted": frames.frame(frames.HEADERS, 0, 1, b"x") + PING,
    "headers that go on without a beginning": frames.frame(frames.CONTINUATION, 4, 1, b""),
    "a frame that is too long": frames.HEAD.pack((1 << 20) << 8, 0, 1),
    "a control frame that is too long": frames.HEAD.pack(60_000 << 8 | frames.PING, 0, 0),
    "padding": CONNECT + frames.frame(frames.DATA, frames.PADDED, 1, b"\0x"),
    "a push": frames.frame(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\2"),
    "settings of a wrong length": frames.frame(frames.SETTINGS, 0, 0, b"12345"),
    "settings of a stream": frames.frame(frames.SETTINGS, 0, 1),
    "frames of a size that is not allowed": frames.settings({frames.MAX_FRAME_SIZE: 1}),
    "windows above the limit": frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 31}),
    "a short window frame": frames.frame(frames.WINDOW_UPDATE, 0, 0, b"12"),
    "a short ping": frames.frame(frames.PING, 0, 0, b"1"),
    "a short goaway": frames.frame(frames.GOAWAY, 0, 0, b"1"),
    "a flood of settings": frames.settings({}) * 101,
    "a flood of pings": PING * 101,
    "a flood of frames nobody knows": frames.frame(0x77, 0, 0) * 101,
    "a flood of priorities": frames.frame(frames.PRIORITY, 0, 1, b"12345") * 101,
    "a flood of empty data": CONNECT + frames.frame(frames.DATA, 0, 1) * 101,
}  # fmt: skip


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_broken_rule_ends_the_connection_with_a_reason(name: str) -> None:
    client, server = pair(replace(SMALL, idle_frames_max=100))
    events = server.receive(VIOLATIONS[name], 0.0)
    assert isinstance(events[-1], Broken)
    said = client.receive(server.take(), 0.0)
    assert Leaving() in said
    assert server.receive(PING, 0.0) == []


def test_a_preface_that_is_none() -> None:
    for raw in (b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"\0" * 40):
        server = Tunnel(SMALL, client=False, now=0.0)
        assert isinstance(server.receive(raw, 0.0)[-1], Broken)
    server = Tunnel(SMALL, client=False, now=0.0)
    assert isinstance(server.receive(frames.PREFACE + PING, 0.0)[-1], Broken)


def test_streams_that_are_opened_and_given_up_are_counted() -> None:
    limits = replace(SMALL, rapid_resets_max=10)
    _, server = pair(limits)
    raw = b"".join(
        frames.frame(frames.HEADERS, frames.END_HEADERS, n, frames.connect_block("db.dc1"))
        + frames.rst_stream(n, frames.CANCEL)
        for n in range(1, 23, 2)
    )
    events = server.receive(raw, 0.0)
    assert isinstance(events[-1], Broken)
    assert len(server.channels) <= 1


def test_resets_of_streams_that_stood_are_no_flood() -> None:
    client, server = pair(replace(SMALL, rapid_resets_max=10))
    for _ in range(50):
        ours, _ = opened(client, server)
        client.reset(ours)
        server.receive(client.take(), 0.0)
    assert not server.broken


def test_more_than_a_window_ends_the_stream_alone() -> None:
    client, server = pair()
    ours, theirs = opened(client, server)
    events = server.receive(frames.frame(frames.DATA, 0, ours.id, b"x" * 1001), 0.0)
    assert events == [Closed(theirs, frames.FLOW_CONTROL_ERROR)]
    assert not server.broken


def test_the_connections_window_moves_though_nobody_reads() -> None:
    _, server = pair(replace(SMALL, stream_window_bytes=1 << 20, connection_window_bytes=70_000))
    server.receive(CONNECT, 0.0)
    raw = frames.frame(frames.DATA, 0, 1, b"x" * 60_000)
    server.receive(raw, 0.0)
    assert not server.broken  # half of it is granted again at once
    server.receive(raw + raw, 0.0)
    assert not server.broken


def test_a_request_that_is_no_connect_is_refused() -> None:
    _, server = pair()
    block = frames._stateless(((":method", "GET"), (":path", "/"), (":authority", "db.dc1")))
    server.take()
    assert server.receive(frames.frame(frames.HEADERS, 4, 1, block), 0.0) == []
    assert server.take() == frames.rst_stream(1, frames.PROTOCOL_ERROR)


@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_raise(raw: bytes, greeted: bool) -> None:
    server = Tunnel(SMALL, client=False, now=0.0)
    hello = frames.PREFACE + frames.settings({}) if greeted else b""
    server.receive(hello + raw, 0.0)


FRAMES = st.builds(
    lambda kind, flags, stream, payload: frames.frame(kind, flags, stream, payload),
    st.one_of(st.integers(0, 10), st.sampled_from([frames.OFFER, frames.MOVED])),
    st.integers(0, 255), st.integers(0, 9),
    st.one_of(
        st.binary(max_size=40), st.sampled_from([b"", TOKEN, frames.connect_block("db.dc1")])
    ),
)  # fmt: skip


@settings(max_examples=scaled(60))
@given(st.lists(FRAMES, max_size=20), st.booleans())
def test_no_frames_raise(raw: list[bytes], client: bool) -> None:
    end = Tunnel(SMALL, client=client, now=0.0)
    hello = (b"" if client else frames.PREFACE) + frames.settings({})
    if client:
        end.open("db.dc1", 0.0)
    end.receive(hello + b"".join(raw), 0.0)
    assert end._receiving.windows == sum(each.window for each in end.channels.values())


@given(st.binary(min_size=1, max_size=5000), st.lists(st.integers(1, 700), min_size=1))
def test_where_bytes_are_cut_makes_no_difference(body: bytes, cuts: list[int]) -> None:
    client, server = pair(replace(SMALL, stream_window_bytes=10_000))
    ours, theirs = opened(client, server)
    client.write(ours, body)
    client.end(ours)
    raw, got, at, turn = client.take(), b"", 0, 0
    while at < len(raw):
        size = cuts[turn % len(cuts)]
        for event in server.receive(raw[at : at + size], 0.0):
            got += event.data if isinstance(event, Data) else b""
        at, turn = at + size, turn + 1
    assert got == body
    assert theirs.remote_over


class Conversation(RuleBasedStateMachine):
    """Arbitrary use of both ends, with delays: what is written is what arrives, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = pair()
        self.wire = [bytearray(), bytearray()]
        self.twins: list[tuple[Channel, Channel | None]] = []
        self.by_id: dict[int, list[Channel | None]] = {}
        self.sent: dict[tuple[int, int], bytearray] = {}
        self.got: dict[tuple[int, int], bytearray] = {}
        self.now = 0.0
        self.n = 0

    def _moved(self) -> None:
        for end in (0, 1):
            self.wire[end] += self.ends[end].take()

    def _saw(self, end: int, events: list[Event]) -> None:
        for event in events:
            assert not isinstance(event, Broken), event
            if isinstance(event, Opened):
                self.by_id[event.channel.id][1] = event.channel
                self.ends[1].answer(event.channel, 200)
            elif isinstance(event, Data):
                self.got.setdefault((end, event.channel.id), bytearray()).extend(event.data)

    @precondition(lambda self: self.ends[0].room)
    @rule()
    def open(self) -> None:
        channel = self.ends[0].open("db.dc1", self.now)
        self.by_id[channel.id] = [channel, None]

    def _pick(self, which: int, end: int) -> Channel | None:
        channels = [pair_[end] for pair_ in self.by_id.values() if pair_[end] is not None]
        return channels[which % len(channels)] if channels else None

    @rule(which=st.integers(0, 99), end=st.integers(0, 1), size=st.integers(1, 2500))
    def write(self, which: int, end: int, size: int) -> None:
        channel = self._pick(which, end)
        if channel is None or channel.local_over or channel.closed:
            return
        self.n += 1
        data = (b"%d." % self.n) * (size // 3 + 1)
        self.sent.setdefault((end, channel.id), bytearray()).extend(data)
        self.ends[end].write(channel, data)

    @rule(which=st.integers(0, 99), end=st.integers(0, 1))
    def finish(self, which: int, end: int) -> None:
        channel = self._pick(which, end)
        if channel is not None:
            self._saw(end, self.ends[end].end(channel))

    @rule(which=st.integers(0, 99))
    def offer(self, which: int) -> None:
        channel = self._pick(which, 0)
        if channel is not None and not channel.closed and not channel.offered:
            self.ends[0].offer(channel, TOKEN)

    @rule(which=st.integers(0, 99), end=st.integers(0, 1))
    def move(self, which: int, end: int) -> None:
        channel = self._pick(which, end)
        twin = channel and self.by_id[channel.id][1 - end]
        if channel is not None and channel.offered and (end or (twin and twin.moves_out)):
            self._saw(end, self.ends[end].move_out(channel))

    @rule(which=st.integers(0, 99), end=st.integers(0, 1))
    def give_up(self, which: int, end: int) -> None:
        channel = self._pick(which, end)
        if channel is not None:
            self.ends[end].reset(channel)

    @rule(which=st.integers(0, 99), end=st.integers(0, 1), reads=st.booleans())
    def read(self, which: int, end: int, reads: bool) -> None:
        channel = self._pick(which, end)
        if channel is not None and not channel.closed:
            if reads:
                self.ends[end].read_on(channel, self.now)
            else:
                channel.reads = False

    @rule(end=st.integers(0, 1), blocks=st.booleans())
    def transport(self, end: int, blocks: bool) -> None:
        if blocks:
            self.ends[end].block()
        else:
            self._saw(end, self.ends[end].pump(700))

    @rule(end=st.integers(0, 1), size=st.integers(1, 3000), seconds=st.floats(0, 0.2))
    def deliver(self, end: int, size: int, seconds: float) -> None:
        self.now += seconds
        self._moved()
        raw = bytes(self.wire[end][:size])
        del self.wire[end][:size]
        self._saw(1 - end, self.ends[1 - end].receive(raw, self.now))

    @invariant()
    def what_arrives_is_what_was_written(self) -> None:
        for (end, id_), got in self.got.items():
            assert self.sent[1 - end, id_].startswith(got)

    @invariant()
    def windows_add_up(self) -> None:
        for end in self.ends:
            assert end._receiving.windows == sum(each.window for each in end.channels.values())
            assert end._receiving.windows <= 8000
            assert all(each.receive_left >= 0 for each in end.channels.values())

    def teardown(self) -> None:
        """With everybody reading and nobody blocked all that was written arrives."""
        for _ in range(400):
            for end in (0, 1):
                for channel in list(self.ends[end].channels.values()):
                    self.ends[end].read_on(channel, self.now)
                self._saw(end, self.ends[end].pump())
                self.deliver(end, 1 << 20, 1.0)
        for (end, id_), sent in self.sent.items():
            both = self.by_id[id_]
            if any(each is not None and each.closed for each in both):
                continue
            assert self.got.get((1 - end, id_), bytearray()) == sent


Conversation.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestConversation = Conversation.TestCase
