"""Which texts are ids, and what is said of the others."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.uuids import uuid_problem


@given(value=st.uuids())
def test_every_uuid_is_one_in_any_case(value: uuid.UUID) -> None:
    assert uuid_problem(str(value)) == uuid_problem(str(value).upper()) == ""


@pytest.mark.parametrize("text", ["", "nope", "5e551011-0000-4000-8000-0000000000011"])
def test_a_wrong_length_is_named(text: str) -> None:
    assert uuid_problem(text) == "index error: UUID must be 36 characters"


@pytest.mark.parametrize("text", ["z" * 36, "5e5510110000-4000-8000-00000000-0001", "5" * 36])
def test_a_wrong_form_is_named(text: str) -> None:
    assert uuid_problem(text) == "index error: Invalid UUID"
