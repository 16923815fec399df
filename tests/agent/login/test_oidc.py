"""What a browser's login says, seals and refuses."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.login import oidc
from agent.login.oidc import OidcError

HERE = "http://localhost:8550/oidc/callback"
CLIENT = oidc.Client(id="c", secret="s", redirects=(HERE, "https://ui.example/ui/oidc/callback"))
URL = "https://p.example"
DOCUMENT = {
    "issuer": URL, "authorization_endpoint": f"{URL}/a?x=1", "token_endpoint": f"{URL}/t",
    "jwks_uri": f"{URL}/k",
}  # fmt: skip


def begun(**fields: Any) -> oidc.Begun:
    return oidc.Begun(
        **{
            "method": "m",
            "redirect": HERE,
            "client_nonce": "cn",
            "nonce": "n",
            "verifier": "v" * 43,
            "ends_at": 1000.0,
            "meta": {},
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("redirect", "allowed"),
    [
        (HERE, True),
        ("http://localhost:9/oidc/callback", True),
        ("http://localhost/oidc/callback", True),
        ("https://ui.example/ui/oidc/callback", True),
        ("https://ui.example:444/ui/oidc/callback", False),
        ("http://localhost:8550/oidc/other", False),
        ("https://localhost:8550/oidc/callback", False),
        ("http://localhost:8550/oidc/callback?x=1", False),
        ("http://localhost:8550/oidc/callback#x", False),
        ("http://u@localhost:1/oidc/callback", False),
        ("http://evil.example/oidc/callback", False),
        ("http://[", False),
    ],
)
def test_where_a_browser_may_be_sent(redirect: str, allowed: bool) -> None:
    if allowed:
        oidc.check_redirect(CLIENT, redirect)
    else:
        with pytest.raises(OidcError, match="unauthorized redirect_uri"):
            oidc.check_redirect(CLIENT, redirect)


def test_the_url_asks_with_a_challenge_and_not_with_the_verifier() -> None:
    provider = oidc.read_provider(DOCUMENT, URL)
    url = oidc.authorization_url(provider, CLIENT, begun(), "st")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert (asked["x"], asked["state"], asked["nonce"], asked["scope"]) == (
        "1",
        "st",
        "n",
        "openid",
    )
    # RFC 7636: the base64url of the SHA-256 of the verifier.
    assert len(asked["code_challenge"]) == 43
    assert "v" * 43 not in url


@given(st.text(max_size=50), st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=5))
def test_what_is_sealed_comes_back_and_nothing_else_does(nonce: str, meta: dict[str, str]) -> None:
    made = begun(client_nonce=nonce, meta=meta)
    state = oidc.seal(made, "key", b"d" * 12)
    assert oidc.unseal(state, "key", 999.0) == made
    for wrong, key, now in (
        (state, "other", 999.0),
        (state, "key", 1000.0),
        (state[:-2], "key", 1.0),
    ):
        with pytest.raises(OidcError, match="Expired or missing"):
            oidc.unseal(wrong, key, now)


@given(st.text(max_size=200))
def test_no_text_is_a_state(text: str) -> None:
    with pytest.raises(OidcError):
        oidc.unseal(text, "key", 0.0)


def test_more_than_a_url_holds_is_not_sealed() -> None:
    with pytest.raises(OidcError, match="too long"):
        oidc.seal(begun(meta={"k": "x" * 4000}), "key", b"d" * 12)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"issuer": "https://q.example"}, "issuer"),
        ({"token_endpoint": ""}, "token_endpoint"),
        ({"token_endpoint": "file:///x"}, "no URL"),
        ({"jwks_uri": 3}, "no URL"),
    ],
)
def test_a_provider_that_does_not_say_what_is_needed(change: dict[str, Any], text: str) -> None:
    with pytest.raises(OidcError, match=text):
        oidc.read_provider(DOCUMENT | change, URL)


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ({"nonce": "n", "aud": "c"}, ""),
        ({"nonce": "n", "aud": ["c"]}, ""),
        ({"nonce": "n", "aud": ["c", "d"], "azp": "c"}, ""),
        ({"nonce": "x", "aud": "c"}, "nonce"),
        ({"aud": "c"}, "nonce"),
        ({"nonce": "n", "aud": "d"}, "aud"),
        ({"nonce": "n"}, "aud"),
        ({"nonce": "n", "aud": ["c", "d"]}, "azp"),
        ({"nonce": "n", "aud": "c", "azp": "d"}, "azp"),
    ],
)
def test_claims_of_an_id_token(claims: dict[str, Any], text: str) -> None:
    if text:
        with pytest.raises(OidcError, match=text):
            oidc.check_claims(claims, CLIENT, begun())
    else:
        oidc.check_claims(claims, CLIENT, begun())
