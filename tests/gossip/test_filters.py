"""Whom a query concerns."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip import filters


@pytest.mark.parametrize(
    ("expression", "value", "matches"),
    [
        ("web", "web-1", True),
        ("^web$", "web-1", False),
        ("w.*1", "web-1", True),
        ("a|web", "web", True),
        ("", "", True),
        ("x", "", False),
        ("[", "x", False),
        ("(a+)+b", "aaab", False),
        ("a*a*a*b", "aab", False),
        ("(?P<x>a)", "a", False),
    ],
)
def test_expressions_are_searched_and_slow_ones_never_match(
    expression: str, value: str, matches: bool
) -> None:
    assert filters.tag_matches(expression, value) is matches


@settings(max_examples=200, deadline=None)
@given(st.text("a*+?()|.[]{}\\1", max_size=20))
def test_no_expression_takes_long(expression: str) -> None:
    started = time.perf_counter()
    filters.tag_matches(expression, "a" * 64)
    assert time.perf_counter() - started < 0.1
