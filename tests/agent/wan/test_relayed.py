"""Requests and answers between datacenters: what comes back, and what is refused unread."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.backend.rpc import calls
from agent.wan.relayed import (
    HEADERS,
    LINES_MAX,
    TARGET_BYTES_MAX,
    RelayedReply,
    RelayedRequest,
    read_elsewhere,
    write_elsewhere,
)
from raftstore.errors import DecodeError

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
LINE = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n"))


@given(TEXT, TEXT, st.dictionaries(st.sampled_from(sorted(HEADERS)), TEXT), TEXT, st.binary())
def test_a_request_comes_back(
    method: str, target: str, headers: dict[str, str], secret: str, body: bytes
) -> None:
    request = RelayedRequest(
        method=method, target=target, headers=headers, secret=secret, body=body
    )
    assert RelayedRequest.decode(request.encode()) == request
    payload = write_elsewhere("west", calls.HTTP, request.encode())
    assert read_elsewhere(payload) == ("west", calls.HTTP, request.encode())


@given(st.integers(100, 599), LINE, st.lists(LINE, max_size=8), st.binary())
def test_an_answer_comes_back(status: int, kind: str, lines: list[str], body: bytes) -> None:
    reply = RelayedReply(status=status, content_type=kind, lines=tuple(lines), body=body)
    assert RelayedReply.decode(reply.encode()) == reply


@given(st.binary())
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    for read in (RelayedRequest.decode, RelayedReply.decode, read_elsewhere):
        try:
            read(payload)
        except DecodeError:
            continue


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 999) | TEXT | st.binary(),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=40)
@given(st.lists(JUNK, max_size=6))
def test_any_values_are_read_or_refused(values: list[object]) -> None:
    payload = calls.pack(*values)
    for read in (RelayedRequest.decode, RelayedReply.decode, read_elsewhere):
        try:
            read(payload)
        except DecodeError:
            continue


@pytest.mark.parametrize(
    "payload",
    [
        calls.pack("GET", "/" + "x" * TARGET_BYTES_MAX, [], "", b""),
        calls.pack("GET", "/v1/kv/a", [["host", "x"]], "", b""),
        calls.pack("GET", "/v1/kv/a", [["cache-control"]], "", b""),
    ],
)
def test_a_request_with_more_than_it_may_have_is_refused(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        RelayedRequest.decode(payload)


@pytest.mark.parametrize(
    "payload",
    [
        calls.pack(99, "", [], b""),
        calls.pack(True, "", [], b""),
        calls.pack(200, "a\r\nSet-Cookie: x", [], b""),
        calls.pack(200, "", ["X: a\nY: b"], b""),
        calls.pack(200, "", ["X: a"] * (LINES_MAX + 1), b""),
        calls.pack(200, "", [1], b""),
    ],
)
def test_an_answer_that_would_break_ours_is_refused(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        RelayedReply.decode(payload)


def test_nobody_is_sent_further_and_nothing_else_is_passed_on() -> None:
    for method in (calls.ELSEWHERE, calls.CHANGE, calls.AS):
        with pytest.raises(DecodeError):
            read_elsewhere(write_elsewhere("west", method, b""))


def test_a_question_with_a_token_is_passed_on_and_nothing_else_in_its_clothes() -> None:
    asked = calls.write_as("secret", calls.ASK, b"question")
    assert read_elsewhere(write_elsewhere("west", calls.AS, asked)) == ("west", calls.AS, asked)
    for method, inner in (
        (calls.AS, calls.write_as("secret", calls.CHANGE, b"")),
        (calls.AS, calls.write_as("", calls.AS, asked)),
        (calls.AS, calls.write_as("", calls.ELSEWHERE, b"")),
        (calls.AS, b"junk"),
        (calls.ASK, b""),
    ):
        with pytest.raises(DecodeError):
            read_elsewhere(write_elsewhere("west", method, inner))
