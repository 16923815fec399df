"""The codec's rules: what fits, what is refused, what an appended field does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from raftstore.codec import LIMITS, codec_for, pack, unpack
from raftstore.errors import DecodeError, EncodeError


@dataclass(frozen=True)
class Old:
    name: str


@dataclass(frozen=True)
class New:
    name: str
    size: int = 7
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)


def test_a_missing_field_with_a_default_is_filled_in():
    assert codec_for(New).from_plain(codec_for(Old).to_plain(Old("a"))) == New("a")


@dataclass(frozen=True)
class Holder:
    name: str
    held: New = New("x")
    last: int = 0


def test_equal_values_give_equal_bytes_whether_a_default_was_given_or_not():
    codec = codec_for(Holder)
    assert codec.encode(Holder("a", New("x", meta={}), 0)) == codec.encode(Holder("a"))
    assert codec.to_plain(Holder("a")) == ["a"]
    assert codec.to_plain(Holder("a", last=1)) == ["a", ["x"], 1]
    assert codec.from_plain(["a"]) == codec.from_plain(["a", ["x", 7, [], {}], 0]) == Holder("a")


def test_a_default_of_another_type_is_no_default():
    with pytest.raises(EncodeError):
        codec_for(Holder).to_plain(Holder("a", last=False))


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1])
def test_a_number_that_cannot_be_carried_is_refused(number: int):
    with pytest.raises(EncodeError):
        codec_for(Holder).encode(Holder("a", last=number))


def test_a_missing_field_without_a_default_is_refused():
    with pytest.raises(DecodeError):
        codec_for(New).from_plain([])


def test_an_unknown_further_field_is_refused():
    with pytest.raises(DecodeError):
        codec_for(Old).from_plain(["a", 1])


def test_equal_mappings_give_equal_bytes_whatever_their_order():
    one, other = New("a", meta={"x": "1", "y": "2"}), New("a", meta={"y": "2", "x": "1"})
    assert codec_for(New).encode(one) == codec_for(New).encode(other)
    assert codec_for(Any).encode({"x": 1, "y": 2}) == codec_for(Any).encode({"y": 2, "x": 1})


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (int, True),
        (int, 1.0),
        (int, 2**64),
        (int, -(2**63) - 1),
        (bool, 1),
        (str, b"a"),
        (bytes, "a"),
        (float, float("nan")),
        (float, float("inf")),
        (type(None), 0),
        (str | None, 1),
        (Literal["a", "b"], "c"),
        (Literal["a", "b"], ["a"]),
        (Mapping[str, int], {"a": "b"}),
        (Mapping[str, int], {b"a": 1}),
        (Any, float("nan")),
        (Any, 2**64),
        (Any, b"bytes are no JSON"),
        (Any, {1: 2}),
        (Any, object()),
    ],
)
def test_what_does_not_fit_is_refused_in_both_directions(kind, bad):
    with pytest.raises(DecodeError):
        codec_for(kind).from_plain(bad)
    with pytest.raises(EncodeError):
        codec_for(kind).to_plain(bad)


@pytest.mark.parametrize(
    ("kind", "bad"),
    [(float, 1), (tuple[str, ...], ("a",)), (tuple[str, int], ["a"]), (tuple[str, int], [1, 1])],
)
def test_what_does_not_fit_is_refused_on_the_way_in(kind, bad):
    with pytest.raises(DecodeError):
        codec_for(kind).from_plain(bad)


@pytest.mark.parametrize(
    ("kind", "bad"), [(tuple[str, ...], ["a"]), (tuple[str, int], ("a",)), (New, Old("a"))]
)
def test_what_does_not_fit_is_refused_on_the_way_out(kind, bad):
    with pytest.raises(EncodeError):
        codec_for(kind).to_plain(bad)


def test_a_json_value_may_be_as_deep_as_the_limit_and_no_deeper():
    value: Any = 1
    for _ in range(LIMITS.json_depth_max):
        value = [value]
    assert codec_for(Any).from_plain(value) == value
    with pytest.raises(DecodeError):
        codec_for(Any).from_plain([value])


def test_a_json_value_may_not_have_too_many_items():
    half = [None] * (LIMITS.json_items_max // 2)
    codec_for(Any).from_plain(half)
    with pytest.raises(DecodeError):
        codec_for(Any).from_plain([half, half])


def test_a_text_that_is_no_unicode_cannot_be_encoded():
    with pytest.raises(EncodeError):
        codec_for(str).encode("\ud800")


def test_a_message_over_the_limit_is_not_looked_at():
    data = pack("a" * 100)
    assert unpack(data, bytes_max=len(data)) == "a" * 100
    with pytest.raises(DecodeError, match="over the limit"):
        unpack(data, bytes_max=len(data) - 1)


@pytest.mark.parametrize(
    "bad", [b"", pack(1) + b"x", b"\xc1", b"\xc7\x01\x05a", b"\xdd\xff\xff\xff\xff"]
)
def test_what_is_no_single_msgpack_object_is_refused(bad):
    with pytest.raises(DecodeError):
        unpack(bad, bytes_max=1000)


def test_a_type_without_a_codec_is_our_own_mistake():
    for kind in (object, list[int], int | str, dict[str, str], Mapping[int, str]):
        with pytest.raises(TypeError):
            codec_for(kind)
