"""Headers of HTTP/2: one reading or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import HttpViolation
from proxy.http1.body import Framing
from proxy.http2 import fields

GOOD = [(":method", "GET"), (":scheme", "http"), (":authority", "db"), (":path", "/a?b")]


def test_a_request_is_read_with_its_authority_as_host() -> None:
    request = fields.read_request([*GOOD, ("x", "1"), ("cookie", "a=1"), ("cookie", "b=2")])
    assert (request.method, request.target) == ("GET", "/a?b")
    assert request.headers == (("host", "db"), ("x", "1"), ("cookie", "a=1; b=2"))


@pytest.mark.parametrize(
    "bad",
    [
        [("x", "1"), *GOOD],  # pseudo-header after a regular one
        GOOD[1:],
        [GOOD[0], *GOOD[2:]],
        GOOD[:3],
        [*GOOD, GOOD[0]],
        [*GOOD, (":status", "200")],
        [*GOOD, (":protocol", "websocket")],
        [*GOOD, ("X", "1")],
        [*GOOD, ("x y", "1")],
        [*GOOD, ("", "1")],
        [*GOOD, ("x", " 1")],
        [*GOOD, ("x", "1\r\ny: 2")],
        [*GOOD, ("x", "1\0")],
        [*GOOD, ("connection", "close")],
        [*GOOD, ("transfer-encoding", "chunked")],
        [*GOOD, ("upgrade", "websocket")],
        [*GOOD, ("keep-alive", "1")],
        [*GOOD, ("proxy-connection", "1")],
        [*GOOD, ("te", "gzip")],
        [*GOOD, ("host", "other")],
        [*GOOD[:2], ("host", "a"), ("host", "b"), (":path", "/")],
        [*GOOD[:2], (":path", "/"), ("host", "a"), ("host", "a")],
        [(":method", "CONNECT"), (":authority", "db:1")],
        [(":method", "G T"), *GOOD[1:]],
        [*GOOD[:3], (":path", "")],
        [*GOOD[:3], (":path", "a")],
        [*GOOD[:3], (":path", "*")],
        [*GOOD[:3], (":path", "http://db/")],
        [*GOOD[:3], (":path", "/a#b")],
        [*GOOD[:3], (":path", "/a b")],
        [*GOOD[:2], (":authority", "user@db"), (":path", "/")],
        [GOOD[0], (":scheme", "ftp"), *GOOD[2:]],
        [*GOOD, *((f"x{n}", "1") for n in range(200))],
    ],
)
def test_what_has_no_one_reading_is_refused(bad: list[tuple[str, str]]) -> None:
    with pytest.raises(HttpViolation):
        fields.read_request(bad)


def test_host_and_authority_may_agree() -> None:
    request = fields.read_request([*GOOD, ("host", "DB")])
    assert request.headers == (("host", "db"),)


def test_lengths() -> None:
    assert fields.framing((), ended=True).empty
    assert fields.framing((), ended=False) == Framing(chunked=True)
    assert fields.framing((("content-length", "5"),), ended=False) == Framing(length=5)
    for bad in ("-1", "+1", "0x1", "1,2", "9" * 20, ""):
        with pytest.raises(HttpViolation):
            fields.framing((("content-length", bad),), ended=False)
    with pytest.raises(HttpViolation):
        fields.framing((("content-length", "1"), ("content-length", "2")), ended=False)
    with pytest.raises(HttpViolation):
        fields.framing((("content-length", "5"),), ended=True, bodied=True)
    assert fields.framing((("content-length", "5"),), ended=True).empty, "as to HEAD"


def test_responses_and_trailers() -> None:
    assert fields.read_response([(":status", "204"), ("a", "b")]).status == 204
    for bad in ([], [(":status", "20")], [(":status", "200"), (":path", "/")], [("a", "b")]):
        with pytest.raises(HttpViolation) as error:
            fields.read_response(bad)
        assert error.value.status == 502
    assert fields.read_trailers([("grpc-status", "0")]) == (("grpc-status", "0"),)
    with pytest.raises(HttpViolation):
        fields.read_trailers([(":status", "200")])


token = st.text("abcdefghijklmnopqrstuvwxyz-_!0123456789", min_size=1, max_size=12)
value = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
plain = st.lists(st.tuples(token.map(lambda n: f"x-{n}"), value), max_size=20)


@given(plain, st.text("abc/", max_size=10).map(lambda p: f"/{p}"))
def test_what_is_sent_is_what_is_read(headers: list[tuple[str, str]], path: str) -> None:
    sent = fields.request_fields("GET", path, [("Host", "db"), *headers], scheme="https")
    request = fields.read_request(sent)
    assert (request.target, list(request.headers)) == (path, [("host", "db"), *headers])
    response = fields.read_response(fields.response_fields(200, headers))
    assert list(response.headers) == headers


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), max_size=8))
def test_nothing_else_than_a_violation_comes_of_anything(given: list[tuple[str, str]]) -> None:
    for read in (fields.read_request, fields.read_response, fields.read_trailers):
        try:
            read(given)
        except HttpViolation:
            pass
