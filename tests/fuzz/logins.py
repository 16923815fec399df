"""Logins under fuzzing: what strangers send before anybody knows them, and what issuers answer."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from agent.acl import identities
from agent.backend.logins import decode_login, decode_logout
from agent.errors import RequestError
from agent.http import parse_login
from agent.login import bindings, claims, jwt, kubernetes
from raftstore.definitions import ACLBindingRule
from raftstore.errors import DecodeError
from tests.agent.login import tokens

NOW = 1_000_000.0
#: What ends a quoted name of rules, or escapes.
UNQUOTED = set('"\\\n')
SIGNERS = (
    (tokens.RSA_KEY, "RS256"),
    (tokens.RSA_KEY, "PS512"),
    (tokens.EC_KEY, "ES256"),
    (tokens.P521_KEY, "ES512"),
    (tokens.ED_KEY, "EdDSA"),
)
KEYS = jwt.read_jwks({"keys": [tokens.jwk(key) for key, _ in SIGNERS]})
CLAIMS = {"exp": NOW + 60, "aud": ["us"], "iss": "issuer", "sub": "a", "in": {"x": ["g", 1]}}
SIGNED = [tokens.sign(CLAIMS, key=key, alg=alg) for key, alg in SIGNERS]
_SIGNED_PARTS = {token.rpartition(".")[0].encode() for token in SIGNED}
BOUNDS = claims.Bounds(issuer="issuer", audiences=["us"])
RULES = [
    ACLBindingRule(
        id=str(number),
        auth_method="m",
        content={"BindType": kind, "BindName": name, "Selector": selector, "BindVars": variables},
    )
    for number, (kind, name, selector, variables) in enumerate(
        (
            ("service", "s-${value.who}", 'value.who matches "^a+$"', None),
            ("node", "${value.who}", '"g" in list.groups', None),
            ("role", "${value.who}", "", None),
            ("templated-policy", "builtin/service", "", {"Name": "${value.who}"}),
        )
    )
]


def bearer(data: bytes) -> None:
    """A token: only what was signed with a key that is known verifies.

    As it comes, and, its lines taken for the parts before they were encoded, with a signature of
    its own and with those of good tokens.
    """
    _try(data.decode("latin-1"))
    head, _, rest = data.partition(b"\n")
    body, _, signature = rest.partition(b"\n")
    signed = f"{tokens.b64(head)}.{tokens.b64(body)}"
    for each in (tokens.b64(signature), *(good.rpartition(".")[2] for good in SIGNED)):
        _try(f"{signed}.{each}")


def _try(text: str) -> None:
    with contextlib.suppress(jwt.JwtError):
        token = jwt.parse(text)
        jwt.verify(token, KEYS)
        assert token.signed in _SIGNED_PARTS


def said(data: bytes) -> None:
    """JSON as the claims of a token, a set of keys, a review, and the bodies of requests."""
    with contextlib.suppress(DecodeError):
        decode_login(data)
    with contextlib.suppress(DecodeError):
        decode_logout(data)
    for read in (parse_login.login, parse_login.method, parse_login.rule):
        with contextlib.suppress(RequestError):
            read(data)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return
    with contextlib.suppress(jwt.JwtError):
        jwt.read_jwks(found)
    with contextlib.suppress(kubernetes.ReviewError):
        kubernetes.reviewed(found)
    kubernetes.identity("n", "a", "u", found)
    if isinstance(found, dict):
        _claimed(found)


def _claimed(found: dict[str, object]) -> None:
    with contextlib.suppress(claims.ClaimError):
        claims.check(found, BOUNDS, NOW)
        assert found["iss"] == "issuer"
    try:
        who = claims.identity(found, {"sub": "who"}, {"/in/x": "groups"})
    except claims.ClaimError:
        return
    for rule in RULES:
        with contextlib.suppress(bindings.BindError):
            for each in bindings.bound([rule], who):
                assert not set(each.name) & UNQUOTED
                _filled_in(each)


def _filled_in(bound: bindings.Bound) -> None:
    """What becomes part of rules cannot leave its quotes."""
    if bound.variables is None:
        return
    variables = {name.lower(): value for name, value in bound.variables.items()}
    with contextlib.suppress(RequestError):
        kept = identities.templated_policies([{"name": bound.name, "variables": variables}], "t")
        assert not set(kept[0]["TemplateVariables"]["Name"]) & UNQUOTED


def bearer_seeds() -> Iterator[bytes]:
    """Good tokens, and what forgers begin with."""
    yield from (token.encode() for token in SIGNED)
    body = json.dumps(CLAIMS).encode()
    for alg in (*sorted(jwt.ALGORITHMS), "none", "HS256"):
        yield b'{"alg":"%s","kid":"a"}\n%s\n%s' % (alg.encode(), body, b"s" * 64)


def said_seeds() -> Iterator[bytes]:
    """What issuers and clients say."""
    user = {"username": "system:serviceaccount:default:web", "uid": "u"}
    login = {"method": "m", "bearer": "b", "meta": {"a": "b"}, "address": "a", "node": "n"}
    for value in (
        {**CLAIMS, "sub": 'x" { policy = "write" }\nservice "y'},
        CLAIMS,
        {"keys": [tokens.jwk(key) for key, _ in SIGNERS]},
        {"status": {"authenticated": True, "user": user}},
        {"metadata": {"annotations": {kubernetes.NAME_ANNOTATION: "web"}}},
        login,
        {"AuthMethod": "m", "BearerToken": "b", "Meta": {"a": "b"}},
        {"Name": "m", "Type": "jwt", "MaxTokenTTL": "5m", "Config": {"BoundAudiences": ["us"]}},
        {"AuthMethod": "m", "BindType": "node", "BindName": "n", "Selector": "a in b"},
    ):
        yield json.dumps(value).encode()
