"""Heads of answers that are remembered say what they say when they are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import HttpViolation
from proxy.http1 import body, forward
from proxy.http1.head import read_response
from proxy.l7 import answers

HEADERS = st.sampled_from(
    [
        "Content-Length: 5", "Transfer-Encoding: chunked", "Connection: close", "Connection: x",
        "X: 1", "Set-Cookie: a=b", "TE: trailers", "Keep-Alive: 1", "Content-Length: x",
    ]
)  # fmt: skip


@given(
    st.sampled_from(["HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 204 No", "HTTP/1.1 103 E"]),
    st.lists(HEADERS, max_size=4),
    st.booleans(),
)
def test_the_second_time_says_what_the_first_did(first: str, lines: list[str], long: bool) -> None:
    raw = "\r\n".join([first, *lines, *(["L: " + "x" * 2000] if long else []), "", ""]).encode()
    try:
        head = read_response(raw)
        framing = body.of_response(head, to_method="GET")
        onward = forward.response_bytes(head, forward.onward(head), framing, close=False)
    except HttpViolation:
        for _ in range(2):
            with pytest.raises(HttpViolation):
                answers.read(raw)
        return
    for _ in range(2):
        found = answers.read(raw)
        assert (found.head, found.framing, found.onward) == (head, framing, onward)
        closes = "close" in (head.get("connection") or "")
        assert found.whole == (head.minor == 1 and not closes and not framing.until_close)
    last = forward.response_bytes(head, forward.onward(head), framing, close=True)
    assert answers.closing(onward) == last
