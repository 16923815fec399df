"""What a review means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.login.kubernetes import NAME_ANNOTATION, ReviewError, identity, review, reviewed


def answer(**user: Any) -> dict[str, Any]:
    return {"status": {"authenticated": True, "user": user}}


def test_an_account_is_named_by_its_user() -> None:
    assert review("t")["spec"] == {"token": "t"}
    found = reviewed(answer(username="system:serviceaccount:ns:name", uid="u"))
    assert found == ("ns", "name", "u")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "not valid"),
        (None, "not valid"),
        ({"status": {"authenticated": "true", "user": {}}}, "not valid"),
        ({"status": {"error": "no good", "authenticated": True}}, "lookup failed: no good"),
        (answer(username="system:serviceaccount:ns"), "unexpected username"),
        (answer(username="system:serviceaccount:ns:"), "unexpected username"),
        (answer(username="system:node:ns:name"), "unexpected username"),
        (answer(username="system:serviceaccount:ns:name:more"), "unexpected username"),
    ],
)
def test_others_prove_nobody(given: Any, why: str) -> None:
    with pytest.raises(ReviewError, match=why):
        reviewed(given)


def test_an_annotation_gives_another_name() -> None:
    account = {"metadata": {"annotations": {NAME_ANNOTATION: "web"}}}
    assert identity("ns", "a", "u", account).variables == {
        "serviceaccount.namespace": "ns",
        "serviceaccount.name": "web",
        "serviceaccount.uid": "u",
    }
    for plain in ({}, None, {"metadata": {"annotations": {NAME_ANNOTATION: 7}}}):
        assert identity("ns", "a", "u", plain).values["name"] == "a"


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=4),
                    lambda i: st.dictionaries(st.sampled_from(["status", "user", "username",
                                                               "authenticated"]), i)))  # fmt: skip
def test_no_answer_does_more_than_fail(given: Any) -> None:
    with pytest.raises(ReviewError):
        reviewed(given)
