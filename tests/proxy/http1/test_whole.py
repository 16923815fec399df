"""Answers that are wanted whole: the same however they come in, and never more than was allowed."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import HttpViolation
from proxy.http1.body import LAST_CHUNK, chunk
from proxy.http1.whole import INTERIM_MAX, Answer, TooLong, WholeAnswer

MOST = 1000
FEW = settings(max_examples=40)
FORMS = st.sampled_from(["length", "chunked", "close"])


def fed(pieces: list[bytes], method: str = "GET") -> WholeAnswer:
    reading = WholeAnswer(to_method=method, body_max_bytes=MOST)
    for piece in pieces:
        reading.feed(piece)
    return reading


def as_bytes(form: str, body: list[bytes]) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\n"
    if form == "chunked":
        chunks = b"".join(map(chunk, body)) + LAST_CHUNK
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    whole = b"".join(body)
    length = b"Content-Length: %d\r\n" % len(whole) if form == "length" else b""
    return head + length + b"\r\n" + whole


@FEW
@given(
    form=FORMS,
    body=st.lists(st.binary(max_size=40), max_size=5),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    interim=st.integers(0, INTERIM_MAX),
)
def test_an_answer_is_the_same_however_it_comes(
    form: str, body: list[bytes], cuts: list[int], interim: int
) -> None:
    raw = b"HTTP/1.1 100 Continue\r\n\r\n" * interim + as_bytes(form, body)
    places = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    reading = fed([raw[a:b] for a, b in itertools.pairwise(places)])
    assert reading.begun
    if form == "close":
        assert reading.answer is None
        reading.end()
    assert reading.answer == Answer(200, reading.answer.headers, b"".join(body))
    assert reading.answer.headers["x-a"] == "1, 2"
    assert reading.keeps is (form != "close")


@FEW
@given(form=FORMS, size=st.integers(MOST + 1, 3 * MOST))
def test_more_than_was_allowed_is_too_long(form: str, size: int) -> None:
    with pytest.raises(TooLong):
        fed([as_bytes(form, [b"x" * size])])


@FEW
@given(form=FORMS.filter(lambda form: form != "close"), cut=st.integers(0, 10_000))
def test_an_answer_that_is_cut_short_is_none(form: str, cut: int) -> None:
    raw = as_bytes(form, [b"some", b"thing"])
    reading = fed([raw[: cut % len(raw)]])
    assert reading.answer is None
    with pytest.raises(HttpViolation):
        reading.end()


@FEW
@given(st.binary(max_size=80))
def test_rubbish_is_refused_or_waits_for_more(raw: bytes) -> None:
    try:
        reading = fed([b"HTTP/1.1 ", raw])
    except HttpViolation:
        return
    assert reading.answer is None or raw[:1].isdigit()


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 more", False),
    ],
)
def test_a_connection_is_kept_only_where_the_next_answer_is_the_next_requests(
    head: bytes, keeps: bool
) -> None:
    reading = fed([head])
    assert reading.answer is not None
    assert reading.keeps is keeps


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * (INTERIM_MAX + 1),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"x" * 70_000,
    ],
)
def test_what_has_no_one_reading_is_refused(raw: bytes) -> None:
    with pytest.raises(HttpViolation):
        fed([raw])


def test_the_answer_to_head_has_no_body() -> None:
    reading = fed([b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"], "HEAD")
    assert reading.answer is not None and reading.answer.body == b""
