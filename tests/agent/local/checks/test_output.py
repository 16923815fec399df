"""Which end of an output is kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.local.checks.output import Tail, head, limit_of


@given(st.lists(st.binary(max_size=30)), st.integers(1, 40))
def test_a_tail_keeps_the_last_bytes(chunks, limit) -> None:
    tail = Tail(limit)
    for chunk in chunks:
        tail.write(chunk)
    whole = b"".join(chunks)
    assert tail.total == len(whole)
    assert tail.text() == whole[-limit:].decode("utf-8", "replace")


def test_scripts_are_told_what_was_lost() -> None:
    tail = Tail(4)
    tail.write(b"abcdef")
    assert tail.noted() == "Captured 4 of 6 bytes\n...\ncdef"
    short = Tail(6)
    short.write(b"abcdef")
    assert short.noted() == "abcdef"


@given(st.text(max_size=40), st.integers(1, 40))
def test_a_head_keeps_the_first_bytes(text, limit) -> None:
    raw = text.encode()
    kept = head(text, limit)
    if len(raw) <= limit:
        assert kept == text
    else:
        assert kept.endswith(f" ... (captured {limit} of {len(raw)} bytes)")
        assert text.startswith(kept.partition(" ... (captured")[0][:1])


def test_the_recorded_cut() -> None:
    assert head("x" * 5000, 4096) == "x" * 4096 + " ... (captured 4096 of 5000 bytes)"


def test_the_smaller_limit_wins() -> None:
    assert [limit_of(0, 4096), limit_of(10, 4096), limit_of(9999, 4096)] == [4096, 10, 4096]
