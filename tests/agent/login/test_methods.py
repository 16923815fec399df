"""Configurations of auth methods: what is missing, too much, or cannot be read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.login.methods import JwtMethod, KubernetesMethod, MethodError, read, without_secrets
from tests.agent.login.tokens import EC_KEY, RSA_KEY, jwk, pem, sign
from tests.certificates import TestCA

STATIC = {"JWTValidationPubKeys": [pem(RSA_KEY)]}
OIDC = {
    "OIDCDiscoveryURL": "https://issuer.example/",
    "OIDCClientID": "id",
    "OIDCClientSecret": "very secret",
    "AllowedRedirectURIs": ["http://localhost:8550/oidc/callback"],
}


def test_all_of_a_jwt_method_is_read() -> None:
    method = read(
        "jwt",
        {
            "jwtvalidationpubkeys": [pem(RSA_KEY), pem(EC_KEY)],
            "bound_issuer": "i",
            "BoundAudiences": ["a"],
            "JWTSupportedAlgs": ["RS256"],
            "ClaimMappings": {"svc": "service"},
            "ListClaimMappings": {"groups": "groups"},
            "ExpirationLeeway": "1m",
            "NotBeforeLeeway": 2_000_000_000,
            "ClockSkewLeeway": "-1s",
        },
    )
    assert isinstance(method, JwtMethod)
    assert len(method.keys) == 2
    bounds = method.bounds
    assert (bounds.issuer, bounds.audiences, bounds.expiration_leeway_s) == ("i", ("a",), 60.0)
    assert (bounds.not_before_leeway_s, bounds.clock_skew_s) == (2.0, -1.0)
    assert (method.algorithms, method.variables) == (("RS256",), ["value.service"])


def test_discovery_begins_with_one_algorithm_and_static_keys_with_their_own() -> None:
    found = read("jwt", {"OIDCDiscoveryURL": "https://i/"})
    assert isinstance(found, JwtMethod)
    assert (found.algorithms, found.discovery_url) == (("RS256",), "https://i")
    static = read("jwt", STATIC)
    assert isinstance(static, JwtMethod)
    assert static.algorithms == ()


@pytest.mark.parametrize("text", [False, True], ids=["object", "text of a file"])
def test_a_key_set_may_stand_in_the_configuration(text: bool) -> None:
    keys = {"keys": [jwk(EC_KEY, kid="a"), jwk(RSA_KEY, kid="b"), {"kty": "oct", "k": "AA"}]}
    found = read("jwt", {"JWKS": json.dumps(keys) if text else keys})
    assert isinstance(found, JwtMethod)
    assert [key.id for key in found.keys] == ["a", "b"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("{", "error parsing JWKS: "),
        ({"keys": 1}, "error parsing JWKS: the key set has no list of keys"),
        ({"keys": [{"kty": "oct"}]}, "error parsing JWKS: there is no key in it that can be used"),
        ("[" * 100_000, "error parsing JWKS: "),
    ],
)
def test_a_key_set_that_is_none_is_told(keys: Any, words: str) -> None:
    with pytest.raises(MethodError) as caught:
        read("jwt", {"JWKS": keys})
    assert str(caught.value).startswith(words)


def test_there_is_one_way_to_the_keys() -> None:
    for more in ({"JWKSURL": "https://i"}, {"OIDCDiscoveryURL": "https://i"}):
        with pytest.raises(MethodError, match="exactly one of"):
            read("jwt", {"JWKS": {"keys": [jwk(EC_KEY)]}, **more})
    with pytest.raises(MethodError, match="'JWKS' must not be set for type \"oidc\""):
        read("oidc", {**OIDC, "JWKS": {"keys": [jwk(EC_KEY)]}})


def test_an_oidc_method_is_taken() -> None:
    assert isinstance(read("oidc", OIDC), JwtMethod)


_EXACTLY_ONE = (
    "exactly one of 'JWTValidationPubKeys', 'JWKSURL', or 'OIDCDiscoveryURL' must be set for type"
    ' "jwt"'
)


@pytest.mark.parametrize(
    ("type", "config", "why"),
    [
        ("bogus", {}, "Type should be one of: [jwt kubernetes]"),
        ("", {}, "Type should be one of: [jwt kubernetes]"),
        ("jwt", None, _EXACTLY_ONE),
        ("jwt", {"JWKSURL": "http://a", **STATIC}, _EXACTLY_ONE),
        ("jwt", {"JWTValidationPubKeys": ["x"]}, "error parsing public key #0: data does not"),
        ("jwt", {**STATIC, "JWTSupportedAlgs": ["HS256"]}, "Invalid supported algorithm: HS256"),
        ("jwt", {**STATIC, "OIDCClientSecret": "s"}, "'OIDCClientSecret' must not be set"),
        ("jwt", {**STATIC, "Bogus": 1, "aa": 2}, "has invalid keys: Bogus, aa"),
        ("jwt", {**STATIC, "Host": "h"}, "has invalid keys: Host"),
        ("jwt", {**STATIC, "BoundIssuer": 7}, "'BoundIssuer' expected type 'string'"),
        ("jwt", {**STATIC, "BoundAudiences": [7]}, "'BoundAudiences' expected a list of strings"),
        ("jwt", {**STATIC, "ClaimMappings": []}, "'ClaimMappings' expected a map of strings"),
        (
            "jwt",
            {**STATIC, "ClaimMappings": {"a": "x", "b": "x"}},
            'ClaimMappings contains multiple mappings for key "x"',
        ),
        ("jwt", {**STATIC, "ClockSkewLeeway": "soon"}, "error decoding config: 'ClockSkewLeeway'"),
        ("jwt", {"JWKSURL": "file:///etc/passwd"}, "JWKSURL is no URL of http or https"),
        ("jwt", {"JWKSURL": "http://[::1"}, "JWKSURL is no URL of http or https"),
        ("jwt", {"JWKSURL": "http://a", "JWKSCACert": "x"}, "error parsing JWKSCACert"),
        ("jwt", [], "error decoding config: it is no object"),
        ("oidc", {}, "'OIDCDiscoveryURL' must be set for type \"oidc\""),
        ("oidc", {**OIDC, "BoundIssuer": "i"}, "'BoundIssuer' must not be set"),
        ("oidc", {**OIDC, "AllowedRedirectURIs": ["x"]}, "Invalid AllowedRedirectURIs provided"),
        ("kubernetes", {}, "Config.Host is required"),
        ("kubernetes", {"Host": "https://h"}, "Config.CACert is required"),
        ("kubernetes", {"Host": "https://h", "CACert": "x"}, "error parsing CACert"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(type: str, config: Any, why: str) -> None:
    with pytest.raises(MethodError) as error:
        read(type, config)
    assert why in str(error.value)


def test_a_kubernetes_method_needs_a_token_of_its_own(tmp_path: Any) -> None:
    ca = TestCA(tmp_path).file.read_text()
    given = {"Host": "https://h:6443/", "CACert": ca}
    with pytest.raises(MethodError, match="ServiceAccountJWT is required"):
        read("kubernetes", given)
    with pytest.raises(MethodError, match="ServiceAccountJWT is not a valid JWT"):
        read("kubernetes", {**given, "ServiceAccountJWT": "x"})
    own = sign({})
    method = read("kubernetes", {**given, "ServiceAccountJWT": own})
    assert isinstance(method, KubernetesMethod)
    assert (method.host, own in repr(method)) == ("https://h:6443", False)


def test_secrets_are_for_those_who_may_write() -> None:
    shown = without_secrets({"serviceaccountjwt": "s", "OIDCClientSecret": "", "Host": "h"})
    assert shown == {"serviceaccountjwt": "<hidden>", "OIDCClientSecret": "", "Host": "h"}
    assert without_secrets(None) is None
