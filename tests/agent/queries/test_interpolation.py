"""`${…}` in a text."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.queries.interpolation import RESULT_MAX, Interpolated, InterpolationError, Scope

SCOPE = Scope(
    variables={"name.full": "geo-db", "name.suffix": "db", "n": "2"},
    functions={"match": lambda at: ["geo-db", "geo", "db"][at] if 0 <= at < 3 else ""},
)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain $ {text}", "plain $ {text}"),
        ("${name.full}", "geo-db"),
        ("a${ name.suffix }b${name.suffix}", "adbbdb"),
        ("$${name.full}", "${name.full}"),
        ("${match(1)}-${match(2)}", "geo-db"),
        ("${match(9)}|${match(-1)}", "|"),
        ("${match(n)}", "db"),
        ("${match(1 + 1)}", "db"),
        ("${1 + 2 * 3 - (4 / -2) % 3}", "9"),
        ('${"quoted ${name.suffix} \\"x\\""}', 'quoted db "x"'),
        ('${match("1")}', "geo"),
        ("", ""),
    ],
)
def test_a_text_is_rendered(text: str, result: str) -> None:
    assert Interpolated(text).render(SCOPE) == result


@pytest.mark.parametrize(
    "text",
    ["${", "${}", "${name.full", "${match(1}", "${1 +}", '${"a}', "${a b}", "${" + "(" * 99, "${#}",
     "${1" + "+1" * 99 + "}", "${" + "9" * 99 + "}"],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InterpolationError, match="parse error at 1:"):
        Interpolated(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${nope}", "unknown variable accessed: nope"),
        ("${nope(1)}", "unknown function called: nope"),
        ("${match()}", "expected 1 arguments, got 0"),
        ("${1/0}", "divide by zero"),
        ('${match("x")}', "no whole number"),
        ("${name.full}" * (RESULT_MAX // 6 + 1), "longer than"),
    ],
    ids=["variable", "function", "arguments", "zero", "number", "long"],
)
def test_what_cannot_be_done_is_refused(text: str, words: str) -> None:
    with pytest.raises(InterpolationError, match=re.escape(words)):
        Interpolated(text).render(SCOPE)


@given(st.text('${}()"\\ab.1+-*/%, ', max_size=40))
def test_any_text_is_rendered_or_refused(text: str) -> None:
    with contextlib.suppress(InterpolationError):
        assert len(Interpolated(text).render(SCOPE)) <= RESULT_MAX


@given(st.text(max_size=40).filter(lambda text: "${" not in text))
def test_a_text_without_interpolation_is_itself(text: str) -> None:
    assert Interpolated(text).render(SCOPE) == text
