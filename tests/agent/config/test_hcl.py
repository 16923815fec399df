"""HCL 1 as operators write it, read by way of an HCL 2 parser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.hcl import DEPTH_MAX, Blocks, HclError, loads


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('a = "b"', {"a": "b"}),
        ('"a.b" = 1', {"a.b": 1}),
        ("a = [1, 2.5, true]", {"a": [1, 2.5, True]}),
        ('a = "${x} %{y}"', {"a": "${x} %{y}"}),
        ("a { b = 1 }", {"a": [{"b": 1}]}),
        ("a { b = 1 }\na { b = 2 }", {"a": [{"b": 1}, {"b": 2}]}),
        ('a "x" { b = 1 }', {"a": [{"x": {"b": 1}}]}),
        ("a = { b = 1 }", {"a": {"b": 1}}),
        ("a = <<EOF\n one\n two\nEOF\n", {"a": " one\n two\n"}),
        ("a = <<-EOF\n   one\n   two\n   EOF\n", {"a": "one\ntwo\n"}),
        ("# nothing\n// at\n/* all */", {}),
        ('a = "x # no comment"', {"a": "x # no comment"}),
    ],
)
def test_values_are_plain_data(text: str, value: dict[str, Any]) -> None:
    assert loads(text) == value


def test_blocks_can_be_told_from_lists() -> None:
    assert isinstance(loads("a { b = 1 }")["a"], Blocks)
    assert not isinstance(loads("a = [{ b = 1 }]")["a"], Blocks)


@pytest.mark.parametrize("text", ["a = b", 'a = upper("x")', "a = 1 + 2", "a {", 'a = "x', "= 1"])
def test_what_is_no_hcl_1_is_refused(text: str) -> None:
    with pytest.raises(HclError):
        loads(text)


def test_an_error_says_where() -> None:
    with pytest.raises(HclError, match=r"^At 2:"):
        loads('a = 1\nb = = "x"\n')


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("service { name = \n", "At 1:18: unexpected end of the line"),
        ("a = = 1\n", 'At 1:5: unexpected "= 1"'),
        ("a = 1 ~ 2", "At 1:7: unexpected"),
        ("a = [1,2", "unexpected end of the file"),
    ],
)
def test_an_error_is_in_the_users_words(text: str, says: str) -> None:
    with pytest.raises(HclError) as refused:
        loads(text)
    assert says in str(refused.value) and "Token" not in str(refused.value)


def test_depth_is_bounded() -> None:
    with pytest.raises(HclError, match="nested too deeply"):
        loads("a = " + "[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1))


NAMES = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True).filter(
    lambda name: name not in {"for", "in", "if", "true", "false", "null"}
)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=20),
)


@given(st.dictionaries(NAMES, SCALARS | st.lists(SCALARS, max_size=4), max_size=5))
def test_what_is_written_is_read_again(value: dict[str, Any]) -> None:
    text = "\n".join(f"{key} = {json.dumps(item)}" for key, item in value.items())
    assert loads(text) == value


@given(st.text(st.sampled_from('ab ="\n{}[]<-#/$%\\1.,'), max_size=60))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        assert isinstance(loads(text), dict)
    except HclError:
        pass
