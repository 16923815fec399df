"""Single fields of the msgpack profile."""

from __future__ import annotations

import pytest

from gossip.errors import DecodeError
from gossip.wire import fields


def test_missing_and_nil_fields_are_zero_values() -> None:
    for body in ({}, {b"x": None}):
        assert fields.uint(body, b"x", 32) == 0
        assert fields.sint(body, b"x") == 0
        assert fields.text(body, b"x") == ""
        assert fields.raw(body, b"x") is None
        assert fields.boolean(body, b"x") is False
        assert fields.sequence(body, b"x") is None
        assert fields.real(body, b"x") == 0.0


@pytest.mark.parametrize("value", [-1, 1 << 32, 1.5, b"1", True, [1]])
def test_an_unsigned_integer_must_fit(value: object) -> None:
    with pytest.raises(DecodeError):
        fields.uint({b"x": value}, b"x", 32)


def test_a_boolean_may_be_a_number() -> None:
    assert fields.boolean({b"x": 1}, b"x") is True
    with pytest.raises(DecodeError):
        fields.boolean({b"x": 2}, b"x")


def test_a_byte_field_may_be_a_list_of_small_integers() -> None:
    assert fields.raw({b"x": [1, 5, 2]}, b"x") == b"\x01\x05\x02"
    for bad in ([256], [b"a"], {}, 3):
        with pytest.raises(DecodeError):
            fields.raw({b"x": bad}, b"x")


def test_text_must_be_utf8() -> None:
    with pytest.raises(DecodeError):
        fields.text({b"x": b"\xff"}, b"x")


def test_bytes_after_the_value_are_ignored() -> None:
    assert fields.unpack_map(b"\x81\xa1a\x01trailing") == {b"a": 1}
    assert fields.unpack_prefix(b"\x81\xa1a\x01rest") == ({b"a": 1}, b"rest")
