"""For whom a token is and when, and whom it names."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.login.claims import Bounds, ClaimError, check, identity

NOW = 1_700_000_000.0
AT = {"iat": NOW - 10, "exp": NOW + 10}


def refused(claims: Any, bounds: Bounds | None = None, now: float = NOW) -> str:
    try:
        check(claims, bounds or Bounds(), now)
    except ClaimError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("claims", "bounds", "why"),
    [
        ({}, Bounds(), "no issue time"),
        (AT, Bounds(), ""),
        ({"exp": NOW - 59}, Bounds(), ""),
        ({"exp": NOW - 61}, Bounds(), "expired"),
        ({"exp": NOW - 1}, Bounds(clock_skew_s=-1), "expired"),
        ({"exp": NOW - 200}, Bounds(clock_skew_s=300), ""),
        ({"exp": NOW + 999, "nbf": NOW + 59}, Bounds(), ""),
        ({"exp": NOW + 999, "nbf": NOW + 61}, Bounds(), "not valid yet"),
        ({"iat": NOW - 205}, Bounds(), ""),
        ({"iat": NOW - 215}, Bounds(), "expired"),
        ({"iat": NOW - 215}, Bounds(expiration_leeway_s=300), ""),
        ({"iat": NOW - 61}, Bounds(expiration_leeway_s=-1), "expired"),
        ({"exp": NOW + 205}, Bounds(), ""),
        ({"exp": NOW + 215}, Bounds(), "not valid yet"),
        ({"exp": NOW + 215}, Bounds(not_before_leeway_s=300), ""),
        ({"iat": NOW + 61, "nbf": NOW, "exp": NOW + 999}, Bounds(), "in the future"),
        ({"exp": "soon"}, Bounds(), "exp claim is no number"),
        ({"exp": True}, Bounds(), "exp claim is no number"),
        ({"exp": float("inf")}, Bounds(), "exp claim is no time"),
        ({"exp": -1}, Bounds(), "exp claim is no time"),
    ],
)  # fmt: skip
def test_a_token_holds_from_when_to_when(claims: Any, bounds: Bounds, why: str) -> None:
    found = refused(claims, bounds)
    assert (why in found) if why else not found


@pytest.mark.parametrize(
    ("claim", "bound", "why"),
    [
        (None, (), ""),
        (None, ("a",), "does not match"),
        ("a", ("a", "b"), ""),
        (["x", "b"], ("a", "b"), ""),
        (["x"], ("a",), "does not match"),
        ("a", (), "no audiences are bound"),
        ([], (), ""),
        (7, ("a",), "neither a string nor a list"),
        (["a", 7], ("a",), "neither a string nor a list"),
        ({"a": 1}, ("a",), "neither a string nor a list"),
    ],
)
def test_a_token_is_for_those_it_names(claim: Any, bound: tuple[str, ...], why: str) -> None:
    found = refused(AT | ({"aud": claim} if claim is not None else {}), Bounds(audiences=bound))
    assert (why in found) if why else not found


def test_an_issuer_that_is_bound_must_have_issued_it() -> None:
    assert refused(AT | {"iss": "i"}, Bounds(issuer="i")) == ""
    for other in ({}, {"iss": "j"}, {"iss": ["i"]}):
        assert "issuer" in refused(AT | other, Bounds(issuer="i"))


def test_claims_become_names() -> None:
    claims = {
        "svc": "web", "n": 7, "f": 7.0, "half": 0.5, "yes": True,
        "deep": {"a/b": ["x", {"c": "y"}]},
        "groups": ["g", 1], "one": "g",
    }  # fmt: skip
    found = identity(
        claims,
        {"svc": "service", "n": "n", "f": "f", "half": "half", "yes": "yes", "none": "none",
         "/deep/a~1b/0": "x", "/deep/a~1b/1/c": "y", "/deep/a~1b/9": "far", "/svc/0": "inside"},
        {"groups": "groups", "one": "one", "none": "nobody"},
    )  # fmt: skip
    assert found.values == {
        "service": "web", "n": "7", "f": "7", "half": "0.5", "yes": "true", "none": "", "x": "x",
        "y": "y", "far": "", "inside": "",
    }  # fmt: skip
    assert found.lists == {"groups": ("g", "1"), "one": ("g",), "nobody": ()}
    assert found.variables["value.service"] == "web"


def test_what_is_no_word_is_refused() -> None:
    for mappings, lists in (({"o": "o"}, {}), ({}, {"o": "o"})):
        with pytest.raises(ClaimError, match="error converting claim 'o' to string"):
            identity({"o": {"a": 1}}, mappings, lists)


_any = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["iat", "nbf", "exp", "aud", "iss", "x", "y"]), _any))
def test_no_claims_do_more_than_fail(claims: dict[str, Any]) -> None:
    bounds = Bounds(issuer="i", audiences=("a",))
    if not refused(claims, bounds):
        assert claims["iss"] == "i" and "a" in claims["aud"]
    try:
        found = identity(claims, {"x": "x", "/y/0": "y"}, {"y": "ys"})
    except ClaimError:
        return
    assert set(found.values) == {"x", "y"}
    assert all(isinstance(value, str) for value in found.values.values())


@given(st.floats(0, 1000), st.floats(0, 1000), st.floats(-1000, 2000))
def test_a_token_never_holds_outside_of_its_times(begin: float, length: float, at: float) -> None:
    claims = {"nbf": 1000 + begin, "exp": 1000 + begin + length}
    held = not refused(claims, Bounds(clock_skew_s=-1), 1000 + at)
    assert held == (claims["nbf"] <= 1000 + at <= claims["exp"])
