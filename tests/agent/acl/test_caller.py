"""Who calls, and whether a secret is the known one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.acl.caller import same_secret


@pytest.mark.parametrize(
    ("shown", "known", "same"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("", "", False),
        ("a", "", False),
        ("", "a", False),
        ("\udcff", "a", False),
    ],
)
def test_nothing_at_all_is_never_a_secret(shown: str, known: str, same: bool) -> None:
    assert same_secret(shown, known) is same


@given(st.text(min_size=1), st.text())
def test_any_text_can_be_compared(known: str, shown: str) -> None:
    assert same_secret(known, known)
    assert same_secret(shown, known) == (shown == known)
