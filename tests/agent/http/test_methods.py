"""Which bytes are a request with a method that the parser does not know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.http.methods import unknown_method


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"FROB /v1/kv/a?x HTTP/1.1\r\nHost: x\r\n\r\n", ("FROB", "/v1/kv/a?x")),
        (b"get / HTTP/1.0\r\n\r\n", ("get", "/")),
        (b"GET / HTTP/1.1\r\n\r\n", None),  # it stumbled over something else
        (b"FROB / HTTP/1.1", None),  # its line has not ended
        (b"FR(B / HTTP/1.1\r\n\r\n", None),
        (b"FROB  / HTTP/1.1\r\n\r\n", None),
        (b"FROB /\xff HTTP/1.1\r\n\r\n", None),
        (b"FROB / HTTP/2.0\r\n\r\n", None),
        (b"\x16\x03\x01\x02\x00\x01", None),
        (b"A" * 65 + b" / HTTP/1.1\r\n\r\n", None),
        (b"FROB /" + b"a" * 8192 + b" HTTP/1.1\r\n\r\n", None),
    ],
)
def test_what_is_a_method(data: bytes, found: tuple[str, str] | None) -> None:
    assert unknown_method(data) == found


@given(st.binary())
def test_any_bytes_are_judged(data: bytes) -> None:
    assert unknown_method(data) is None or data.count(b" ") >= 2
