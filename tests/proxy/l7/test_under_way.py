"""Which requests under way end when the rules change."""

from __future__ import annotations

from proxy.http1.head import Request
from proxy.l7.under_way import UnderWay, is_stream
from proxy.telemetry.entry import Notes


def request(path: str, *headers: tuple[str, str]) -> Request:
    return Request("POST", path, 1, headers)


PLAIN, DENIED = request("/a"), request("/b")
GRPC = request("/s/m", ("Content-Type", "application/grpc+proto"))
SOCKET = request("/w", ("Connection", "upgrade"), ("Upgrade", "websocket"))


def test_streams_end_soon_others_may_finish_and_what_is_let_in_again_stays():
    under_way, told = UnderWay(), {}
    keys = {
        each.target: under_way.begin(
            each, lambda after_s, at=each.target: told.update({at: after_s}), Notes()
        )
        for each in (PLAIN, DENIED, GRPC, SOCKET)
    }
    denied = under_way.decide(lambda each: each is PLAIN, stream_s=0.5, request_s=30.0)
    assert denied == 3
    assert told == {"/a": None, "/b": 30.0, "/s/m": 0.5, "/w": 0.5}
    under_way.end(keys["/s/m"])
    under_way.end(keys["/s/m"])
    assert under_way.decide(lambda _: True, stream_s=0.5, request_s=30.0) == 0
    assert told == {"/a": None, "/b": None, "/s/m": 0.5, "/w": None}


def test_what_a_stream_is():
    assert [is_stream(each) for each in (PLAIN, GRPC, SOCKET)] == [False, True, True]
