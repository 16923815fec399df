"""Tokens of requests: where they stand, when they count, what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.login.jose import Jose
from proxy import jwt
from proxy.jwt import Checked, Claim, Provider, TokenError
from tests.proxy.tokens import Issuer

ISSUER, STRANGER = Issuer(), Issuer()
NOW = 1_000_000.0
JOSE = Jose()


def provider(**more: Any) -> Provider:
    return jwt.read_provider("idp", ISSUER.provider(**more))


def checked(
    token: str, given: Provider | None = None, headers: dict[str, str] | None = None, path: str = ""
) -> Checked:
    given = given or provider()
    headers = {"authorization": f"Bearer {token}"} if headers is None else headers
    keys = JOSE.keys(given.jwks)
    return jwt.check(given, headers=headers, target=path or "/", keys=keys, jose=JOSE, now=NOW)


def test_a_good_token_gives_its_claims() -> None:
    found = checked(ISSUER.token(iss="me", sub="s", exp=NOW + 1))
    assert found.claims is not None and found.claims["sub"] == "s"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (STRANGER.token(iss="me"), "signature"),
        (ISSUER.token(iss="you"), "iss"),
        (ISSUER.token(), "iss"),
        (ISSUER.token(iss="me", exp=NOW - 31), "exp"),
        (ISSUER.token(iss="me", nbf=NOW + 31), "nbf"),
        (ISSUER.token(iss="me", exp="soon"), "exp"),
        (ISSUER.token(iss="me", exp=float("nan")), "exp"),
        (ISSUER.token(iss="me", algorithm="none"), "algorithm"),
        (ISSUER.token(iss="me", algorithm="HS256"), "algorithm"),
        (ISSUER.token(iss="me", algorithm="RS256"), "signature"),
        (ISSUER.token(iss="me")[:-2], ""),
        ("a.b.c", ""),
        ("x" * 20_000, "longer"),
    ],
)
def test_a_bad_token_is_bad_and_is_never_told(token: str, reason: str) -> None:
    found = checked(token)
    assert found.claims is None and found.text == jwt.FAILS
    assert reason in found.reason and token not in repr(found)


def test_clocks_may_differ_by_so_much() -> None:
    for claims in ({"exp": NOW - 29}, {"nbf": NOW + 29}):
        assert checked(ISSUER.token(iss="me", **claims)).claims is not None
    strict = provider(ClockSkewSeconds=0)
    assert checked(ISSUER.token(iss="me", exp=NOW - 1), strict).claims is None


@pytest.mark.parametrize(
    ("aud", "good"), [("a", True), (["x", "b"], True), ("c", False), (None, False), ([1], False)]
)
def test_audiences(aud: object, good: bool) -> None:
    found = checked(ISSUER.token(iss="me", aud=aud), provider(Audiences=["a", "b"]))
    assert (found.claims is not None) is good


def test_where_a_token_stands() -> None:
    token = ISSUER.token(iss="me")
    places = provider(
        Locations=[
            {"Header": {"Name": "X-Token", "ValuePrefix": "T "}},
            {"QueryParam": {"Name": "t"}},
            {"Cookie": {"Name": "tok"}},
        ]
    )
    for headers, path in (
        ({"x-token": f"T {token}"}, "/"),
        ({}, f"/?a=b&t={token}"),
        ({"cookie": f"a=b; tok={token}"}, "/"),
    ):
        assert checked("", places, headers, path).claims is not None
    for headers, path in (
        ({"authorization": f"Bearer {token}"}, f"/?access_token={token}"),
        ({"x-token": token}, "/"),
        ({"cookie": f"tok2={token}"}, "/"),
    ):
        assert checked("", places, headers, path).text == jwt.MISSING
    assert checked("", None, {}, f"/?access_token={token}").claims is not None


def test_the_application_sees_what_the_provider_says() -> None:
    token = ISSUER.token(iss="me")
    sets = provider(Forwarding={"HeaderName": "X-Payload", "PadForwardPayloadHeader": True})
    good = checked(token, sets)
    sent = [("Authorization", f"Bearer {token}"), ("x-payload", "forged"), ("a", "b")]
    headers, target = jwt.forwarded(sent, "/x?y", (good,), frozenset({"x-payload"}))
    assert headers[0] == ("a", "b") and target == "/x?y"
    name, value = headers[1]
    assert name == "x-payload" and len(value) % 4 == 0 and value.rstrip("=") == token.split(".")[1]
    keeps = provider(Locations=[{"Header": {"Name": "Authorization", "ValuePrefix": "Bearer ",
                                            "Forward": True}}])  # fmt: skip
    headers, _ = jwt.forwarded(sent, "/", (checked(token, keeps),), frozenset())
    assert headers == sent
    by_query = checked("", None, {}, f"/?a=1&access_token={token}&b=2")
    _, target = jwt.forwarded([], f"/?a=1&access_token={token}&b=2", (by_query,), frozenset())
    assert target == "/?a=1&b=2"


@pytest.mark.parametrize(
    ("claims", "path", "value", "says"),
    [
        ({"a": "x"}, ("a",), "x", True),
        ({"a": {"b": "x"}}, ("a", "b"), "x", True),
        ({"a": ["x", "y"]}, ("a",), "y", True),
        ({"a": 1}, ("a",), "1", False),
        ({"a": True}, ("a",), "True", False),
        ({"a": "x"}, (), "x", False),
        ({"a": "x"}, ("a", "b"), "x", False),
        ({}, ("a",), "", False),
    ],
)
def test_claims(claims: dict[str, Any], path: tuple[str, ...], value: str, says: bool) -> None:
    assert jwt.says(claims, Claim(path, value)) is says


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["JSONWebKeySet", "Local", "Remote", "JWKS", "URI", "Locations", "Header",
                     "Name", "Forwarding", "CacheConfig", "Size", "Audiences"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)  # fmt: skip
def test_a_provider_is_read_or_refused(given: Any) -> None:
    try:
        jwt.read_provider("idp", given if isinstance(given, dict) else {"Locations": given})
    except TokenError:
        pass


@given(st.text(max_size=200))
def test_no_text_is_a_token_by_chance(text: str) -> None:
    assert checked(text).claims is None
