"""Bodies that are passed on as they come, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import HttpViolation
from proxy.http1.body import Decoder, Framing, chunk
from proxy.l7.messages import NoBody
from proxy.l7.passing import Passing
from proxy.l7.relaying import Replay
from proxy.l7.retries import REPLAY_MAX_BYTES
from tests.proxy.l7.pair import nobody

HEAD, NEXT = b"POST / HTTP/1.1\r\n\r\n", b"GET /next HTTP/1.1\r\n\r\n"


def passing(framing: Framing) -> tuple[Passing, Replay]:
    replay = Replay(NoBody(nobody(), framing))
    return Passing(HEAD, replay), replay


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.booleans(),
    st.lists(st.integers(0, 400), max_size=12),
)
def test_what_goes_on_is_the_same_body_and_what_follows_is_left(pieces, chunked, cuts):
    body = b"".join(pieces)
    if not chunked and not body:
        return
    framing = Framing(chunked=True) if chunked else Framing(length=len(body))
    raw = b"".join(map(chunk, pieces)) + b"0;x=y\r\nA: b\r\n\r\n" if chunked else body
    one, _ = passing(framing)
    sent, left, at = b"", b"", 0
    whole = raw + NEXT
    for cut in [*sorted(cuts), len(whole)]:
        part, at = whole[at : max(at, cut)], max(at, min(cut, len(whole)))
        if one.done:
            left += part
        elif part:
            sent += one.take(part)
            left += one.rest()
    assert one.done and left == NEXT and one.size == len(body)
    decoder = Decoder(framing)
    assert decoder.feed(sent) == body and decoder.done and not decoder.left
    assert one.again() == HEAD + raw


@given(st.binary(max_size=60))
def test_whatever_comes_in_chunks_goes_on_in_good_chunks_or_not_at_all(data):
    one, _ = passing(Framing(chunked=True))
    try:
        sent = one.take(data)
    except HttpViolation:
        return
    decoder = Decoder(Framing(chunked=True))
    assert len(decoder.feed(sent)) == one.size and decoder.done == one.done


def test_a_long_body_is_not_kept():
    one, replay = passing(Framing(length=REPLAY_MAX_BYTES + 2))
    one.take(b"x" * REPLAY_MAX_BYTES)
    assert replay.repeatable
    one.take(b"x")
    assert not replay.repeatable and not one._raw
    with pytest.raises(AssertionError):
        one.again()
