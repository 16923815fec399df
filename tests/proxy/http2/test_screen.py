"""Frames counted as they come: the codec sees what it would have seen, floods are ended."""

from __future__ import annotations

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from proxy.http2.bounds import Rates
from proxy.http2.screen import FRAMES_AT_ONCE, Flood, GoAway, Screen

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def wire(*frames: Frame) -> bytes:
    return b"".join(each.serialize() for each in frames)


def fed(screen: Screen, data: bytes, cuts: list[int], now: float = 0.0) -> bytes:
    out, at = b"", 0
    for cut in [*sorted(cuts), len(data)]:
        out += screen.feed(data[at:cut], now)
        while screen.more:
            out += screen.feed(b"", now)
        at = cut
    return out


frames = st.lists(
    st.one_of(
        st.binary(max_size=300).map(lambda data: DataFrame(1, data)),
        st.binary(max_size=40).map(lambda data: HeadersFrame(1, data)),
        st.just(RstStreamFrame(3)),
        st.just(PingFrame(0, b"12345678")),
        st.binary(max_size=20).map(
            lambda data: GoAwayFrame(0, last_stream_id=7, error_code=0, additional_data=data)
        ),
    ),
    max_size=12,
).flatmap(lambda one: st.sampled_from([one, one * 8]))  # so many that they are not all looked at


@given(frames, st.lists(st.integers(0, 4000), max_size=20))
def test_everything_passes_but_goaway_however_it_is_cut(sent: list[Frame], cuts: list[int]) -> None:
    screen = Screen(Rates(), preface=True)
    data = PREFACE + wire(*sent)
    kept = [each for each in sent if not isinstance(each, GoAwayFrame)]
    assert fed(screen, data, [min(cut, len(data)) for cut in cuts]) == PREFACE + wire(*kept)
    left = any(isinstance(each, GoAwayFrame) for each in sent)
    assert screen.goaway == (GoAway(7, 0) if left else None)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_garbage_passes_or_is_a_flood(data: bytes, cuts: list[int]) -> None:
    screen = Screen(Rates(), preface=False)
    try:
        passed = fed(screen, data, [min(cut, len(data)) for cut in cuts])
    except Flood:
        return
    assert data.startswith(passed) or screen.goaway is not None


@pytest.mark.parametrize(
    ("frame", "most"),
    [
        (RstStreamFrame(1), 1000),
        (PingFrame(0, b"12345678"), 100),
        (SettingsFrame(0), 100),
        (DataFrame(1, b""), 100),
    ],
)
def test_what_makes_work_for_us_is_bounded_in_time(frame: Frame, most: int) -> None:
    screen, raw = Screen(Rates(), preface=False), frame.serialize()
    for number in range(most):
        screen.feed(raw, number / most)
    later = Screen(Rates(), preface=False)
    for number in range(3 * most):
        later.feed(raw, number * 10.1 / most)
    with pytest.raises(Flood):
        screen.feed(raw, 1.0)


def test_pings_that_follow_data_measure_a_path() -> None:
    screen = Screen(Rates(), preface=False)
    for _ in range(5000):
        screen.feed(wire(PingFrame(0, b"12345678"), DataFrame(1, b"x")), 0.0)


def test_answers_to_our_own_frames_do_not_count() -> None:
    screen = Screen(Rates(), preface=False)
    for _ in range(5000):
        screen.feed(wire(PingFrame(0, b"12345678", flags=["ACK"])), 0.0)


def test_headers_do_not_go_on_for_ever() -> None:
    screen = Screen(Rates(), preface=False)
    screen.feed(wire(HeadersFrame(1, b"x" * 100)), 0.0)
    with pytest.raises(Flood, match="headers"):
        fed(screen, wire(*[ContinuationFrame(1, b"x" * 16_000)] * 5), [])


def test_of_many_frames_a_few_are_looked_at_in_one_go() -> None:
    screen, one = Screen(Rates(), preface=False), RstStreamFrame(1).serialize()
    passed = screen.feed(one * (FRAMES_AT_ONCE + 5) + one[:4], 0.0)
    assert (passed, screen.more) == (one * (FRAMES_AT_ONCE + 1), True)
    assert (screen.feed(one[4:], 0.0), screen.more) == (one * 5, False)


@given(st.lists(st.booleans(), max_size=40))
def test_a_reset_is_seen_with_the_stream_that_it_ends(pairs: list[bool]) -> None:
    """Whatever came before, no pair of a stream and its reset is cut apart."""
    opened, ping = HeadersFrame(1, b"x").serialize(), PingFrame(0, b"12345678").serialize()
    reset = RstStreamFrame(1).serialize()
    wire = b"".join(opened + reset if pair else ping for pair in pairs)
    screen, slices = Screen(Rates(), preface=False), []
    slices.append(screen.feed(wire, 0.0))
    while screen.more:
        slices.append(screen.feed(b"", 0.0))
    assert b"".join(slices) == wire
    assert not any(each.endswith(opened) for each in slices)
