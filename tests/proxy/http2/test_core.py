"""A connection without its socket: two cores that talk, and peers that break the rules."""

from __future__ import annotations

import pytest
from h2.connection import H2Connection
from hyperframe.frame import GoAwayFrame, RstStreamFrame
from hypothesis import given
from hypothesis import strategies as st

from proxy.http2.bounds import Bounds, Rates
from proxy.http2.core import CANCEL, REFUSED_STREAM, Core, Ended
from proxy.http2.events import Answered, Asked, Broken, Event, Leaving, Over, Piece, Room

ASK = [(":method", "POST"), (":scheme", "http"), (":authority", "db"), (":path", "/a")]


class Two:
    """A client and a server; ``turn`` lets each hear what the other has said."""

    def __init__(self, bounds: Bounds | None = None, size: int = 1 << 20) -> None:
        self.client = Core(bounds or Bounds(), client=True)
        self.server = Core(bounds or Bounds(), client=False)
        self.size = size
        self.turn()

    def turn(self) -> tuple[list[Event], list[Event]]:
        at_client: list[Event] = []
        at_server: list[Event] = []
        while True:
            to_server, to_client = self.client.taken(), self.server.taken()
            if not to_server and not to_client:
                return _but_room(at_client), _but_room(at_server)
            for at in range(0, len(to_server), self.size):
                at_server += received(self.server, to_server[at : at + self.size])
            for at in range(0, len(to_client), self.size):
                at_client += received(self.client, to_client[at : at + self.size])


def received(core: Core, data: bytes) -> list[Event]:
    """All events of these bytes."""
    events = core.receive(data, 0.0)
    while core.more:
        events += core.receive(b"", 0.0)
    return events


def _but_room(events: list[Event]) -> list[Event]:
    return [each for each in events if not isinstance(each, Room)]


@given(st.binary(max_size=70_000), st.sampled_from([1 << 20, 17, 9, 1000]))
def test_a_request_and_its_answer(body: bytes, size: int) -> None:
    two = Two(size=size)
    stream = two.client.ask([*ASK, ("x", "ü")], ended=False)
    assert two.client.data(stream, body, ended=True)
    _, (asked, *rest) = two.turn()
    assert isinstance(asked, Asked) and not asked.ended
    assert asked.request.headers == (("host", "db"), ("x", "ü"))
    pieces = [each for each in rest if isinstance(each, Piece)]
    assert b"".join(each.data for each in pieces) == body
    assert isinstance(rest[-1], Over)
    two.server.headers(stream, [(":status", "200"), ("a", "b")], ended=False)
    two.server.data(stream, b"answer", ended=False)
    two.server.headers(stream, [("grpc-status", "0")], ended=True)
    answered, piece, over, *_ = two.turn()[0]
    assert isinstance(answered, Answered) and answered.response.status == 200
    assert isinstance(piece, Piece) and piece.data == b"answer"
    assert over == Over(stream, (("grpc-status", "0"),))


def test_a_peer_may_go_on_once_it_has_the_end_of_an_answer() -> None:
    """Whoever gave the answer may still be here, though not without end."""
    two = Two(Bounds(streams_max=2))
    answer = [(":status", "200")]
    asked = [two.client.ask(ASK, ended=False) for _ in range(2)]
    two.turn()
    assert two.server.headers(asked[0], answer, ended=True)
    two.client.data(asked[0], b"", ended=True)
    two.client.data(asked[1], b"", ended=True)
    two.turn()
    assert two.server.headers(asked[1], answer, ended=False)
    assert two.server.data(asked[1], b"x", ended=True)
    two.turn()
    for stream in asked:  # the client has forgotten them, the server has not
        two.client.finished(stream)
    more = [two.client.ask(ASK, ended=True) for _ in range(2)]
    _, events = two.turn()
    assert [each.stream_id for each in events if isinstance(each, Asked)] == more
    for stream in more:
        two.server.headers(stream, answer, ended=True)
        two.client.finished(stream)
    two.turn()
    one_more = two.client.ask(ASK, ended=True)
    assert Broken(one_more, REFUSED_STREAM, refused=True) in two.turn()[0]
    two.server.finished(asked[0])
    another = two.client.ask(ASK, ended=True)
    assert any(isinstance(each, Asked) and each.stream_id == another for each in two.turn()[1])


def test_a_window_is_kept_and_given_back() -> None:
    two = Two(Bounds(stream_window_bytes=1000))
    stream = two.client.ask(ASK, ended=False)
    two.turn()
    assert two.client.window(stream) == 1000
    two.client.data(stream, b"x" * 1000, ended=False)
    assert two.client.window(stream) == 0
    _, events = two.turn()
    assert two.client.window(stream) == 0
    for each in events:
        assert isinstance(each, Piece)
        two.server.credit(stream, each.credit)
    two.turn()
    assert two.client.window(stream) == 1000


def test_stopped_streams_do_not_stop_the_others() -> None:
    two = Two()
    room = Bounds().stream_window_bytes
    stopped = [two.client.ask(ASK, ended=False) for _ in range(99)]
    for stream in stopped:
        while left := two.client.window(stream):
            two.client.data(stream, b"x" * min(left, 16_384), ended=False)
        two.turn()
    last = two.client.ask(ASK, ended=False)
    assert two.client.window(last) == room


def test_one_stream_too_many_is_refused_and_the_others_live() -> None:
    bounds = Bounds(streams_max=2)
    peer = H2Connection()
    peer.initiate_connection()
    for stream in (1, 3, 5):
        peer.send_headers(stream, ASK)
    server = Core(bounds, client=False)
    events = server.receive(peer.data_to_send(), 0.0)
    assert [each.stream_id for each in events if isinstance(each, Asked)] == [1, 3]
    raw = server.taken()
    refused = RstStreamFrame(5, error_code=REFUSED_STREAM).serialize()
    assert refused in raw


def test_a_malformed_request_ends_its_stream_only() -> None:
    two = Two()
    bad = two.client.ask([*ASK, ("connection", "close"), ("bad name", "")], ended=True)
    # What the client's own side takes out must be written by hand.
    peer = H2Connection()
    peer.config.validate_outbound_headers = False
    peer.config.normalize_outbound_headers = False
    peer.initiate_connection()
    peer.send_headers(1, [*ASK, ("connection", "close")], end_stream=True)
    peer.send_headers(3, ASK, end_stream=True)
    server = Core(Bounds(), client=False)
    events = _but_room(server.receive(peer.data_to_send(), 0.0))
    assert isinstance(events[0], Broken) and events[0].by_us
    assert any(isinstance(each, Asked) and each.stream_id == 3 for each in events)
    assert bad == 1


def test_goaway_lets_streams_finish_and_gives_back_the_unseen() -> None:
    two = Two()
    first, second = two.client.ask(ASK, ended=True), two.client.ask(ASK, ended=True)
    two.turn()
    frame = GoAwayFrame(0, last_stream_id=first).serialize()
    events = two.client.receive(frame, 0.0)
    assert events == [Leaving(0), Broken(second, REFUSED_STREAM, refused=True)]
    assert two.client.room == 0
    two.server.headers(first, [(":status", "204")], ended=True)
    assert any(isinstance(each, Answered) for each in two.turn()[0])


def test_whoever_leaves_says_so_twice() -> None:
    two = Two()
    stream = two.client.ask(ASK, ended=True)
    two.turn()
    two.server.leave()
    first = two.server.taken()
    assert GoAwayFrame(0, last_stream_id=2**31 - 1).serialize() in first
    two.client.receive(first, 0.0)
    two.server.receive(two.client.taken(), 0.0)
    assert GoAwayFrame(0, last_stream_id=stream).serialize() in two.server.taken()


def test_resets_end_streams_on_both_sides() -> None:
    two = Two()
    stream = two.client.ask(ASK, ended=False)
    two.turn()
    two.client.reset(stream, CANCEL)
    assert two.turn()[1] == [Broken(stream, CANCEL)]
    assert not two.server.headers(stream, [(":status", "200")], ended=True)
    assert not two.server.data(stream, b"x", ended=True)
    assert two.server.window(stream) == -1
    assert (two.client.open_streams, two.server.open_streams) == (0, 0)


def test_a_flood_ends_the_connection_with_its_reason() -> None:
    two = Two(Bounds(rates=Rates(resets_max=5)))

    def rapid_reset() -> None:
        for _ in range(10):
            stream = two.client.ask(ASK, ended=False)
            two.client.reset(stream, CANCEL)
            two.turn()

    with pytest.raises(Ended, match="resets"):
        rapid_reset()
    assert two.server.taken().endswith(b"\x00\x00\x00\x0b")


def test_streams_that_go_on_to_be_refused_end_the_connection() -> None:
    peer = H2Connection()
    peer.initiate_connection()
    server = Core(Bounds(streams_max=1, rates=Rates(resets_max=5)), client=False)
    for stream in range(1, 15, 2):
        peer.send_headers(stream, ASK)
    with pytest.raises(Ended, match="refused"):
        received(server, peer.data_to_send())


def test_a_length_that_is_wrong_ends_the_connection() -> None:
    two = Two()
    stream = two.client.ask([*ASK, ("content-length", "3")], ended=False)
    two.client.data(stream, b"xxxx", ended=True)
    with pytest.raises(Ended):
        two.turn()


@given(st.binary(max_size=300))
def test_garbage_ends_the_connection_or_waits(data: bytes) -> None:
    for core in (Core(Bounds(), client=False), Core(Bounds(), client=True)):
        try:
            received(core, data)
        except Ended:
            core.taken()


@given(st.binary(min_size=1, max_size=300))
def test_garbage_after_the_preface_too(data: bytes) -> None:
    core = Core(Bounds(), client=False)
    try:
        received(core, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0" + data)
    except Ended:
        core.taken()
