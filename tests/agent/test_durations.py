"""Durations as Go reads and prints them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.durations import DurationError, format_ns, parse_ns, parse_s


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("10s", 10_000_000_000),
        ("1h5m0s", 3_900_000_000_000),
        ("150ms", 150_000_000),
        ("1.5s", 1_500_000_000),
        ("-1.5h", -5_400_000_000_000),
        (".5s", 500_000_000),
        ("1µs", 1_000),
        ("3ns", 3),
        ("+5m", 300_000_000_000),
    ],
)
def test_reads_what_go_reads(text: str, nanoseconds: int) -> None:
    assert parse_ns(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc", 'time: invalid duration "abc"'),
        ("", 'time: invalid duration ""'),
        ("10", 'time: missing unit in duration "10"'),
        ("10x", 'time: unknown unit "x" in duration "10x"'),
        ("1h 5m", 'time: unknown unit "h " in duration "1h 5m"'),
        ("-", 'time: invalid duration "-"'),
        ("99999999999h", 'time: invalid duration "99999999999h"'),
    ],
)
def test_refuses_in_the_words_of_go(text: str, message: str) -> None:
    with pytest.raises(DurationError) as error:
        parse_ns(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (245_000_000_000, "4m5s"),
        (259_200_000_000_000, "72h0m0s"),
        (-90_000_000_000, "-1m30s"),
    ],
)
def test_prints_what_go_prints(nanoseconds: int, text: str) -> None:
    assert format_ns(nanoseconds) == text


@given(st.integers(-(1 << 62), 1 << 62))
def test_what_is_printed_reads_back(nanoseconds: int) -> None:
    assert parse_ns(format_ns(nanoseconds)) == nanoseconds


@given(st.text(max_size=30))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    try:
        parse_s(text)
    except DurationError:
        pass
