"""Decoding of JSON bodies: Go's rules and Go's words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.http.decode import (
    DecodeFailure,
    Shape,
    boolean,
    duration_ns,
    duration_s,
    integer,
    load,
    objects,
    string,
    string_map,
    strings,
)

SHAPE = Shape(
    "Thing",
    {
        "Name": ("name", string),
        "EnableTagOverride": ("override", boolean),
        "TTL": ("ttl_s", duration_s),
        "Port": ("port", integer),
        "Tags": ("tags", strings),
        "Meta": ("meta", string_map),
    },
    snake=True,
)


def reason(read: Any, *given: Any) -> str:
    with pytest.raises(DecodeFailure) as caught:
        read(*given)
    return str(caught.value)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "EOF"),
        (b"  \n", "EOF"),
        (b"{", "unexpected EOF"),
        (b'{"a"', "unexpected EOF"),
        (b'{"a": "x', "unexpected EOF"),
        (b"[1,", "unexpected EOF"),
        (b"{bad", "invalid character 'b' looking for beginning of object key string"),
        (b"{nope", "invalid character 'n' looking for beginning of object key string"),
        (b"nope", "invalid character 'o' in literal null (expecting 'u')"),
        (b"nul", "unexpected EOF"),
        (b"NaN", "invalid character 'N' looking for beginning of value"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a": 1 "b"}', "invalid character '\"' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b'"a\nb"', "invalid character '\\n' in string literal"),
    ],
)
def test_broken_json_is_explained_in_gos_words(body: bytes, text: str) -> None:
    assert reason(load, body) == text


@settings(max_examples=120)
@given(st.binary(max_size=40))
def test_any_bytes_load_or_fail_cleanly(body: bytes) -> None:
    words = "none"
    try:
        load(body)
    except DecodeFailure as error:
        words = str(error)
    assert words


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_what_is_json_is_read_as_it_is(value: Any) -> None:
    assert load(json.dumps(value).encode()) == value


def test_what_follows_the_first_value_is_ignored_as_in_go() -> None:
    assert load(b'{"a": 1} trailing') == {"a": 1}


def test_deep_nesting_and_huge_numbers_are_refused() -> None:
    assert reason(load, b"[" * 100_000)
    assert reason(load, b"9" * 10_000) == "invalid number literal"


def test_text_that_cannot_be_stored_is_replaced() -> None:
    assert "\ufffd" in load(b'"\\ud800x"')
    load(b'"\\ud800x"').encode()
    assert load(b'"\xff"') == "\ufffd"
    assert load(b'"\\ud83d\\ude00"') == "😀"


@pytest.mark.parametrize("key", ["Name", "name", "NAME", "nAmE"])
def test_field_names_have_no_case(key: str) -> None:
    assert SHAPE.read("", {key: "x"}) == {"name": "x"}


@pytest.mark.parametrize("key", ["EnableTagOverride", "enable_tag_override", "enabletagoverride"])
def test_snake_case_is_read_where_it_is_allowed(key: str) -> None:
    assert SHAPE.read("", {key: True}) == {"override": True}
    plain = Shape("Thing", {"EnableTagOverride": ("override", boolean)})
    assert reason(plain.read, "", {"enable_tag_override": True})


def test_an_unknown_field_is_named() -> None:
    assert reason(SHAPE.read, "", {"Bogus": 1}) == 'json: unknown field "Bogus"'


def test_null_is_absence() -> None:
    assert SHAPE.read("", {"Name": None, "Tags": None}) == {}
    assert SHAPE.read("", None) == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [("Port", "80"), ("Port", 1.5), ("Port", True), ("Port", 1 << 63), ("Name", 1), ("Tags", "x"),
     ("Tags", [1]), ("Meta", ["a"]), ("Meta", {"a": 1}), ("EnableTagOverride", "yes"),
     ("TTL", []), ("TTL", True)],
)  # fmt: skip
def test_a_wrong_type_is_refused_and_the_field_named(field: str, value: Any) -> None:
    text = reason(SHAPE.read, "", {field: value})
    assert f".{field} of type" in text


def test_an_object_is_wanted() -> None:
    assert reason(SHAPE.read, "", []) == "json: cannot unmarshal array into Go value of type Thing"
    assert reason(objects(SHAPE.read), "Things", {})


def test_durations_are_text_or_nanoseconds() -> None:
    assert duration_s("TTL", "1m30s") == 90.0
    assert duration_s("TTL", 1_500_000_000) == 1.5
    assert duration_ns("TTL", "") == 0
    assert reason(duration_ns, "TTL", "abc") == 'time: invalid duration "abc"'
    assert reason(duration_ns, "TTL", float("1e300"))
