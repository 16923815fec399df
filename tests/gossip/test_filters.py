"""Whom a query concerns."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip import filters
from gossip.config import GossipConfig
from gossip.wire import serf

STATES_MAX = GossipConfig(name="n1").filter_states_max


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
        ("(a+)+b", "aaab", True),
        ("a*a*a*b", "aab", True),
        ("^(web|db)+-[0-9]{1,3}$", "web-12", True),
        ("(?i)WEB", "web", True),
        ("(?P<x>a)", "a", True),
        ("(a)\\1", "aa", False),
        ("a{1000}", "a" * 1000, False),
        ("(?L)a", "a", False),
    ],
)
def test_expressions_are_searched_as_re2_does_and_unbounded_ones_never_match(
    expression: str, value: str, matches: bool
) -> None:
    assert filters.tag_matches(expression, value, states_max=STATES_MAX) is matches


@settings(max_examples=200, deadline=None)
@given(st.text("a*+?()|.[]{}\\1^$", max_size=40))
def test_no_expression_takes_long(expression: str) -> None:
    started = time.process_time()
    filters.tag_matches(expression, "a" * 500 + "!", states_max=STATES_MAX)
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize("expression", ["(a+)+$", "(a|aa)*$", "(a|a)*b", ".*.*.*.*x", "((a*)*)*c"])
def test_what_makes_others_backtrack_for_ever_is_quick(expression: str) -> None:
    started = time.process_time()
    filters.tag_matches(expression, "a" * 500 + "!", states_max=STATES_MAX)
    assert time.process_time() - started < 0.2


def query_with(*filters_: bytes) -> serf.Query:
    return serf.Query(
        ltime=1,
        id=1,
        address=b"",
        port=0,
        source_node="asker",
        filters=filters_,
        flags=0,
        relay_factor=0,
        timeout_ns=0,
        name="q",
        payload=None,
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=4), st.integers(0, 1))
def test_any_filter_is_read_or_does_not_match(bodies: list[bytes], kind: int) -> None:
    query = query_with(*(bytes((kind,)) + body for body in bodies))
    filters.concerns(query, GossipConfig(name="n1"), {"role": "web"})


def test_the_number_of_filters_is_bounded() -> None:
    named = bytes.fromhex("0091a26e31")
    config = GossipConfig(name="n1", query_filters_max=2)
    assert filters.concerns(query_with(named, named), config, {})
    assert not filters.concerns(query_with(named, named, named), config, {})
