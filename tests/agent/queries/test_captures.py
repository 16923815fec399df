"""Groups of a pattern: those that a backtracking engine finds, in bounded time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.queries.captures import STEPS_MAX, TEXT_MAX, compile_captures
from gossip.patterns import PatternError

ATOMS = st.sampled_from(["a", "b", "[ab]", "[^a]", ".", r"\d", "-", "^", "$", r"\b"])


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    # Repetitions of what can be empty are the one thing on which engines differ.
    takes = st.sampled_from(["a", "[ab-]", "(b)", "(?:a|b)", "(a|ab)", "(a)(b)?"])
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})"),
        inner.map(lambda one: f"({one})"),
        inner.map(lambda one: f"({one})?"),
        st.tuples(takes, st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{1,3}", "{2}"])).map(
            lambda two: f"(?:{two[0]}){two[1]}"
        ),
    )


@given(st.recursive(ATOMS, grown, max_leaves=8), st.text("ab-1", max_size=10))
def test_groups_are_those_of_a_backtracking_engine(pattern: str, text: str) -> None:
    found = re.search(pattern.replace("$", r"\Z"), text, re.ASCII)
    wanted = () if found is None else (found.group(), *(group or "" for group in found.groups()))
    assert compile_captures(pattern).find(text) == wanted


def test_a_name_is_taken_apart_as_documented() -> None:
    pattern = compile_captures("^geo-db-(.*?)-([^-]+?)$")
    assert pattern.find("geo-db-customer-primary") == (
        "geo-db-customer-primary",
        "customer",
        "primary",
    )
    assert pattern.find("geo-db-customer") == ()


def test_a_pattern_that_kills_a_backtracking_engine_takes_no_time() -> None:
    pattern = compile_captures("^(a+)+$")
    began = time.process_time()
    assert pattern.find("a" * (TEXT_MAX - 1) + "b") == ()
    assert time.process_time() - began < 0.5


def test_no_search_has_more_steps_than_the_bound() -> None:
    usual = compile_captures("^geo-db-(.*?)-([^-]+?)$")
    assert usual.text_max >= 250  # a DNS name has room for less before its suffix
    hostile = compile_captures("(a|aa|a?a?){9}")
    assert hostile.text_max * len(hostile._program) <= STEPS_MAX < TEXT_MAX * len(hostile._program)
    assert hostile.find("a" * hostile.text_max) and not hostile.find("a" * (hostile.text_max + 1))


def test_longer_texts_are_not_taken_apart() -> None:
    assert compile_captures("(a)").find("a" * (TEXT_MAX + 1)) == ()


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "missing closing )"),
        (r"(a)\1", "back-references"),
        ("(?=a)", "looking around"),
        ("(?m)^a", "multi-line"),
        ("(a{50}){50}", "instructions"),
        ("a" * 300, "longer than"),
    ],
    ids=["broken", "back-reference", "looking around", "multi-line", "large", "long"],
)
def test_what_cannot_be_searched_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(PatternError, match=re.escape(words)):
        compile_captures(pattern)
