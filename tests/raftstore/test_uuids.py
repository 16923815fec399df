"""Which texts are ids, and what is said of the others."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.uuids import lookup_problem, uuid_problem


@given(value=st.uuids())
def test_every_uuid_is_one_in_any_case(value: uuid.UUID) -> None:
    assert uuid_problem(str(value)) == uuid_problem(str(value).upper()) == ""


@pytest.mark.parametrize("text", ["", "nope", "5e551011-0000-4000-8000-0000000000011"])
def test_a_wrong_length_is_named(text: str) -> None:
    assert uuid_problem(text) == "index error: UUID must be 36 characters"


@pytest.mark.parametrize("text", ["5" * 36, "5e5510110000-4000-8000-00000000-0001"])
def test_what_can_be_looked_up_is_no_uuid_yet(text: str) -> None:
    assert lookup_problem(text) == ""
    assert uuid_problem(text) == "index error: Invalid UUID"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("z" * 36, "Invalid UUID: encoding/hex: invalid byte: U+007A 'z'"),
        ("1" * 34 + "\u00fc", "Invalid UUID: encoding/hex: invalid byte: U+00C3 '\u00c3'"),
        ("1" * 35 + "\x00", "Invalid UUID: encoding/hex: invalid byte: U+0000"),
        ("1" * 35 + "-", "Input (without hyphens) must be even length"),
        ("-" * 5 + "1" * 31, 'UUID should have maximum of 4 "-"; got 5'),
    ],
    ids=["letter", "two bytes", "no look", "odd", "hyphens"],
)
def test_a_wrong_form_is_named(text: str, reason: str) -> None:
    assert lookup_problem(text) == uuid_problem(text) == f"index error: {reason}"
