"""Patterns: the same matches as a backtracking engine, without its worst cases."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.patterns import PATTERN_MAX, PatternError, compile_pattern
from tests.strategies import scaled

_atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", "x", r"\.", "(?:ab)", "[a-c1]"])
_counts = st.sampled_from(["", "*", "+", "?", "{2}", "{1,3}", "*?", "{0,1}"])
_pieces = st.tuples(_atoms, _counts).map("".join)
_sequences = st.lists(_pieces, min_size=0, max_size=4).map("".join)
_branches = st.lists(_sequences, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})")
_patterns = st.builds(
    lambda start, middle, end: start + middle + end,
    st.sampled_from(["", "^"]),
    st.one_of(_sequences, _branches, st.builds(lambda a, b: a + "+" + b, _branches, _sequences)),
    st.sampled_from(["", "$"]),
)


@settings(max_examples=scaled(120), deadline=None)
@given(_patterns, st.text("abcx1.", max_size=8))
def test_a_search_finds_what_pythons_engine_finds(pattern: str, text: str) -> None:
    expected = re.search(pattern.replace("$", r"\Z"), text, re.ASCII) is not None
    assert compile_pattern(pattern).search(text) is expected


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)*$", "(a|a)*b", ".*.*.*.*x", "(.*a){12}"])
def test_no_pattern_makes_a_long_text_slow(pattern: str) -> None:
    text = "a" * 4096 + "!"
    started = time.perf_counter()
    compile_pattern(pattern).search(text)
    assert time.perf_counter() - started < 2.0


@pytest.mark.parametrize(
    "pattern", [r"(a)\1", "(?=a)", "(?!a)", r"\bweb", "(?m)^a$", "(", "[", "a{1000}", "*"]
)
def test_what_cannot_be_promised_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        compile_pattern(pattern)


def test_a_pattern_has_a_greatest_length() -> None:
    compile_pattern("a" * PATTERN_MAX)
    with pytest.raises(PatternError, match="longer than"):
        compile_pattern("a" * (PATTERN_MAX + 1))


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("(?i)WEB", "my-web", True),
        ("(?i)[^A]", "a", False),
        ("(?s)a.b", "a\nb", True),
        ("a.b", "a\nb", False),
        ("^$", "", True),
        ("^$", "x", False),
        ("1$", "web1", True),
        ("1$", "web12", False),
        ("", "anything", True),
    ],
)
def test_flags_and_anchors(pattern: str, text: str, found: bool) -> None:
    assert compile_pattern(pattern).search(text) is found
