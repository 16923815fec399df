"""A head has one reading or is refused (contract D.5, rules 5, 7, 8 and 9)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import HttpViolation
from proxy.http1.head import (
    HEAD_MAX,
    HEADERS_MAX,
    REQUEST_LINE_MAX,
    Request,
    end_of_head,
    read_request,
    read_response,
)


def test_a_request_is_read() -> None:
    raw = b"POST /a?b=c HTTP/1.1\r\nHost: web:80\r\nX-A: 1\r\nx-a:  2 \r\nEmpty:\r\n\r\n"
    head = read_request(raw)
    assert (head.method, head.target, head.minor) == ("POST", "/a?b=c", 1)
    assert head.headers == (("Host", "web:80"), ("X-A", "1"), ("x-a", "2"), ("Empty", ""))
    assert head.get("X-a") == "1, 2"
    assert head.get("none") is None


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        (b"GET /\r\nHost: a\r\n\r\n", 400),
        (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /" + b"a" * REQUEST_LINE_MAX + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: b\r\n" * HEADERS_MAX + b"\r\n", 431),
    ],
)
def test_what_has_two_readings_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(HttpViolation) as refused:
        read_request(raw)
    assert refused.value.status == status


def test_absolute_targets_are_read_as_origin() -> None:
    assert read_request(b"GET http://A/x?y HTTP/1.1\r\nHost: a\r\n\r\n").target == "/x?y"
    assert read_request(b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").target == "/"
    assert read_request(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").target == "*"
    assert read_request(b"GET / HTTP/1.0\r\n\r\n").minor == 0


def test_a_head_that_never_ends_is_bounded() -> None:
    assert end_of_head(b"GET / HTTP/1.1\r\nHost") == -1
    with pytest.raises(HttpViolation) as refused:
        end_of_head(b"a" * (REQUEST_LINE_MAX + 1))
    assert refused.value.status == 414
    with pytest.raises(HttpViolation) as refused:
        end_of_head(b"GET / HTTP/1.1\r\n" + b"a" * HEAD_MAX)
    assert refused.value.status == 431


def test_a_response_is_read() -> None:
    head = read_response(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n")
    assert (head.status, head.reason, head.minor) == (200, "OK", 1)
    assert read_response(b"HTTP/1.0 404\r\n\r\n").status == 404
    for raw in (b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/3 200 OK\r\n\r\n", b"200 OK\r\n\r\n"):
        with pytest.raises(HttpViolation):
            read_response(raw)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_refused(junk: bytes) -> None:
    for raw in (junk + b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n" + junk + b"\r\n\r\n"):
        try:
            head = read_request(raw)
        except HttpViolation:
            continue
        assert isinstance(head, Request)
        assert not any("\r" in v or "\n" in v or "\0" in v for _, v in head.headers)


@pytest.mark.parametrize("first", ["GET / HTTP/1.2", "GET / HTTP/1.9", "GET /\xe4 HTTP/1.1"])
def test_found_beside_envoy(first: str) -> None:
    with pytest.raises(HttpViolation):
        read_request(f"{first}\r\nHost: a\r\n\r\n".encode("latin-1"))
