"""Bodies end where one rule says (contract D.5, rules 1 to 4 and 6), however they are cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import HttpViolation
from proxy.http1.body import (
    LAST_CHUNK,
    Decoder,
    Framing,
    chunk,
    of_request,
    of_response,
)
from proxy.http1.head import Request, Response


def request(*headers: tuple[str, str], minor: int = 1) -> Request:
    return Request("POST", "/", minor, headers)


CL, TE = "Content-Length", "Transfer-Encoding"


@pytest.mark.parametrize(
    ("headers", "framing"),
    [
        ([], Framing()),
        ([(CL, "5")], Framing(length=5)),
        ([(CL, "5"), (CL, "5")], Framing(length=5)),
        ([(CL, "5, 5")], Framing(length=5)),
        ([(TE, "chunked")], Framing(chunked=True)),
        ([(TE, "Chunked ")], Framing(chunked=True)),
    ],
)
def test_framings(headers: list[tuple[str, str]], framing: Framing) -> None:
    assert of_request(request(*headers)) == framing


@pytest.mark.parametrize(
    ("headers", "minor", "status"),
    [
        ([(CL, "5"), (TE, "chunked")], 1, 400),
        ([(CL, "5"), (CL, "6")], 1, 400),
        ([(CL, "5, 6")], 1, 400),
        ([(CL, "+5")], 1, 400),
        ([(CL, "-1")], 1, 400),
        ([(CL, "0x5")], 1, 400),
        ([(CL, "5 5")], 1, 400),
        ([(CL, "")], 1, 400),
        ([(CL, "9" * 20)], 1, 400),
        ([(CL, "9223372036854775808")], 1, 400),
        ([(CL, "\u0665")], 1, 400),
        ([(TE, "identity")], 1, 400),
        ([(TE, "chunked, gzip")], 1, 400),
        ([(TE, "chunked, chunked")], 1, 400),
        ([(TE, "chunked"), (TE, "chunked")], 1, 400),
        ([(TE, "gzip, chunked")], 1, 501),
        ([(TE, "\x0bchunked")], 1, 400),
        ([(TE, "chunked")], 0, 400),
    ],
)
def test_what_two_readers_would_delimit_differently_is_refused(
    headers: list[tuple[str, str]], minor: int, status: int
) -> None:
    with pytest.raises(HttpViolation) as refused:
        of_request(request(*headers, minor=minor))
    assert refused.value.status == status


def test_responses_without_a_length_end_with_the_connection() -> None:
    def response(status: int, *headers: tuple[str, str]) -> Response:
        return Response(status, "", 1, headers)

    assert of_response(response(200), to_method="GET") == Framing(until_close=True)
    assert of_response(response(200, (CL, "7")), to_method="HEAD").empty
    assert of_response(response(204, (CL, "7")), to_method="GET").empty
    assert of_response(response(304), to_method="GET").empty
    with pytest.raises(HttpViolation) as refused:
        of_response(response(200, (CL, "x")), to_method="GET")
    assert refused.value.status == 502


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(max_size=40), max_size=6),
    st.binary(max_size=10),
    st.integers(1, 30),
    st.booleans(),
)
def test_a_body_comes_out_whole_however_it_is_cut(
    pieces: list[bytes], after: bytes, step: int, chunked: bool
) -> None:
    body = b"".join(pieces)
    wire = b"".join(map(chunk, pieces)) + LAST_CHUNK if chunked else body
    decoder = Decoder(Framing(chunked=True) if chunked else Framing(length=len(body)))
    out, raw = b"", wire + after
    for at in range(0, len(raw), step):
        out += decoder.feed(raw[at : at + step])
    assert out == body
    assert decoder.done
    assert decoder.left == after


@pytest.mark.parametrize(
    "raw",
    [
        b"x\r\n",
        b"-1\r\n",
        b"0x1\r\na\r\n",
        b" 1\r\na\r\n",
        b"1\na\n0\n\n" + b"a" * 400,
        b"1" * 17 + b"\r\n",
        b"1;" + b"a" * 300 + b"\r\n",
        b"1\r\nab\r\n",
        b"1\r\naX\r\n",
        b"0\r\nbad trailer\r\n\r\n",
        b"0\r\n" + b"a: " + b"b" * 9000,
    ],
)
def test_chunks_that_are_none_are_refused(raw: bytes) -> None:
    with pytest.raises(HttpViolation):
        Decoder(Framing(chunked=True)).feed(raw)


def test_a_body_that_is_cut_short_is_noticed() -> None:
    decoder = Decoder(Framing(length=5))
    assert decoder.feed(b"abc") == b"abc"
    with pytest.raises(HttpViolation):
        decoder.end()
    until = Decoder(Framing(until_close=True))
    assert until.feed(b"abc") == b"abc"
    until.end()
    assert until.done


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 20))
def test_any_bytes_are_chunks_or_refused(raw: bytes, step: int) -> None:
    decoder = Decoder(Framing(chunked=True))
    try:
        for at in range(0, len(raw), step):
            decoder.feed(raw[at : at + step])
    except HttpViolation as error:
        refused = error.status
    else:
        refused = 400
    assert refused == 400
