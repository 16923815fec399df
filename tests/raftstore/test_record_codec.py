"""The written-out codec of a dataclass: what is left out, filled in and refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.codec import codec_for
from raftstore.errors import DecodeError, EncodeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    name: str
    data: bytes = b""
    count: int = 3
    open: bool = False
    rate: float = 0.5
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] | None = None
    held: Inner | None = None
    last: str = "z"


@dataclass(frozen=True, slots=True)
class Inner:
    value: int = 0
    names: tuple[str, ...] = field(default_factory=tuple)


@dataclass(frozen=True)
class Keeper:
    held: Any = field(default_factory=list)


VALUES = st.builds(
    Mixed,
    name=st.text(),
    data=st.sampled_from([b"", b"x"]),
    count=st.sampled_from([3, 0, -1, 2**63]),
    open=st.booleans(),
    rate=st.sampled_from([0.5, 1.5]),
    tags=st.sampled_from([(), ("a", "b")]),
    held=st.one_of(st.none(), st.builds(Inner, st.integers(0, 5), st.just(()))),
    last=st.sampled_from(["z", ""]),
)


@given(VALUES)
def test_every_value_is_read_back(value: Mixed):
    codec = codec_for(Mixed)
    read = codec.decode(codec.encode(value), bytes_max=1 << 20)
    assert read == value
    assert type(read) is Mixed


@given(VALUES)
def test_exactly_the_defaults_at_the_end_are_left_out(value: Mixed):
    plain = codec_for(Mixed).to_plain(value)
    names = [each.name for each in fields(Mixed)]
    defaults = Mixed(name="")
    for name in names[len(plain) :]:
        assert getattr(value, name) == getattr(defaults, name)
    if len(plain) > 1:
        name = names[len(plain) - 1]
        assert getattr(value, name) != getattr(defaults, name)


@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary()),
                max_size=10))  # fmt: skip
def test_an_array_is_read_or_refused(plain: list[object]):
    try:
        read = codec_for(Mixed).from_plain(plain)
    except DecodeError:
        return
    assert codec_for(Mixed).from_plain(codec_for(Mixed).to_plain(read)) == read


@pytest.mark.parametrize(
    "plain",
    [None, (), [], ["a"] * 10, [b"a"], ["a", "b"], ["a", b"", True], ["a", b"", 1, 0],
     ["a", b"", 1, False, 1], ["a", b"", 1, False, 0.5, [1]]],
)  # fmt: skip
def test_what_does_not_fit_is_refused(plain):
    with pytest.raises(DecodeError):
        codec_for(Mixed).from_plain(plain)


@pytest.mark.parametrize(
    "changes",
    [{"name": b"a"}, {"count": True}, {"count": 3.0}, {"open": 0}, {"last": None}, {"data": ""}],
)
def test_a_value_of_a_wrong_type_is_not_written(changes):
    with pytest.raises(EncodeError):
        codec_for(Mixed).to_plain(Mixed(**{"name": "a", **changes}))


def test_a_default_that_is_made_anew_is_not_shared():
    read = codec_for(Keeper).from_plain
    assert read([]).held is not read([]).held
