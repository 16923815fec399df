"""What is passed on is what was decided about; what is about one hop ends here."""

import pytest

from proxy.errors import HttpViolation
from proxy.http1.body import Framing
from proxy.http1.forward import (
    About,
    HeaderChanges,
    changed,
    passed_on,
    request_bytes,
    response_bytes,
)
from proxy.http1.head import Request, Response, read_request, read_response

REQUEST = Request("GET", "/", 1, (("Host", "a"), ("X-User", "u")))


def test_headers_of_one_hop_are_dropped() -> None:
    headers = (
        ("Host", "a"),
        ("Connection", "close, X-Private"),
        ("X-Private", "1"),
        ("Keep-Alive", "5"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
        ("X-Kept", "1"),
    )
    assert passed_on(headers) == [("Host", "a"), ("X-Kept", "1"), ("TE", "trailers")]


@pytest.mark.parametrize(
    "name", ["Host", "Content-Length", "Authorization", "X-Lictor-Deadline", "b3", "X-B3-TraceId"]
)
def test_connection_cannot_take_away_what_the_next_hop_needs(name: str) -> None:
    with pytest.raises(HttpViolation):
        passed_on((("Connection", name), (name, "x")))


def test_changes_are_made_in_order_and_never_touch_the_framing() -> None:
    changes = HeaderChanges(
        remove=("X-Old", "Host", "Content-Length"),
        set={"X-Set": "%REQ(X-User)%@%SERVICE%", "Content-Length": "9"},
        add={"X-Add": "%DOWNSTREAM_REMOTE_ADDRESS%", "X-Set": "second"},
    )
    given = [("Host", "a"), ("X-Old", "1"), ("x-set", "old"), ("Content-Length", "3")]
    made = changed(given, changes, REQUEST, About("10.0.0.1", "web"))
    assert made == [
        ("Host", "a"),
        ("Content-Length", "3"),
        ("X-Set", "u@web"),
        ("X-Add", "10.0.0.1"),
        ("X-Set", "second"),
    ]


@pytest.mark.parametrize(
    ("method", "framing", "line"),
    [
        ("POST", Framing(length=3), b"Content-Length: 3\r\n"),
        ("POST", Framing(), b"Content-Length: 0\r\n"),
        ("POST", Framing(chunked=True), b"Transfer-Encoding: chunked\r\n"),
        ("GET", Framing(), b""),
    ],
)
def test_a_request_is_framed_once(method: str, framing: Framing, line: bytes) -> None:
    raw = request_bytes(method, "/x", [("Host", "a"), ("Content-Length", "77")], framing)
    assert line in raw
    assert raw.lower().count(b"content-length") + raw.lower().count(b"transfer-encoding") == bool(
        line
    )
    assert read_request(raw).target == "/x"


def test_responses_keep_the_length_that_head_tells() -> None:
    head = Response(200, "OK", 1, ())
    raw = response_bytes(head, [("Content-Length", "55")], Framing(), close=False)
    assert b"Content-Length: 55\r\n" in raw
    raw = response_bytes(head, [], Framing(until_close=True), close=True)
    assert b"Transfer-Encoding: chunked\r\n" in raw
    assert b"Connection: close\r\n" in raw
    assert read_response(raw).status == 200
    raw = response_bytes(Response(204, "", 1, ()), [], Framing(), close=False)
    assert b"Content-Length" not in raw
