"""Signed tokens: the good ones of every kind, and what an attacker would make of them."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from agent.login.jwt import KEYS_MAX, JwtError, Key, parse, read_jwks, read_pem, verify
from tests.agent.login.tokens import (
    EC_KEY,
    ED_KEY,
    P384_KEY,
    P521_KEY,
    RSA_KEY,
    b64,
    jwk,
    pem,
    sign,
)

GOOD = [
    *(("RSA", RSA_KEY, alg) for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
    ("P-256", EC_KEY, "ES256"),
    ("P-384", P384_KEY, "ES384"),
    ("P-521", P521_KEY, "ES512"),
    ("Ed25519", ED_KEY, "EdDSA"),
]


HS, NONE, RS = (b64(json.dumps({"alg": alg}).encode()) for alg in ("HS256", "none", "RS256"))


@pytest.mark.parametrize(("key", "alg"), [(k, a) for _, k, a in GOOD], ids=[a for *_, a in GOOD])
@pytest.mark.parametrize("form", ["pem", "jwk"])
def test_every_algorithm_verifies_with_its_key(key: Any, alg: str, form: str) -> None:
    token = parse(sign({"sub": "a"}, key=key, alg=alg))
    known = [read_pem(pem(key))] if form == "pem" else read_jwks({"keys": [jwk(key)]})
    verify(token, known)
    verify(token, known, [alg])
    assert token.claims == {"sub": "a"}
    with pytest.raises(JwtError, match="unexpected signature algorithm; expected"):
        verify(token, known, ["RS999"])


@pytest.mark.parametrize(("key", "alg"), [(k, a) for _, k, a in GOOD], ids=[a for *_, a in GOOD])
def test_a_token_of_another_key_is_nobodys(key: Any, alg: str) -> None:
    others = {
        "RSA": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "EC": ec.generate_private_key(ec.SECP256R1()),
    }
    token = parse(sign({}, key=key, alg=alg))
    with pytest.raises(JwtError, match="no known key successfully validated"):
        verify(token, [Key(other.public_key()) for other in others.values()])


def test_a_public_key_is_never_a_shared_secret() -> None:
    signed = f"{HS}.{b64(b'{}')}"
    forged = hmac.new(pem(RSA_KEY).encode(), signed.encode(), "sha256").digest()
    for text in (f"{signed}.{b64(forged)}", sign({}, alg="none"), f"{NONE}.{b64(b'{}')}."):
        with pytest.raises(JwtError, match="unexpected signature algorithm"):
            parse(text)


def test_algorithms_do_not_mix() -> None:
    for alg in ("RS384", "PS256", "ES256", "EdDSA"):
        text = sign({}, header={"alg": alg})  # signed with RS256
        with pytest.raises(JwtError, match="no known key"):
            verify(parse(text), [read_pem(pem(RSA_KEY))])
    on_another_curve = sign({}, key=P384_KEY, alg="ES256")
    with pytest.raises(JwtError, match="no known key"):
        verify(parse(on_another_curve), [read_pem(pem(P384_KEY))])


def test_a_key_id_narrows_the_choice() -> None:
    keys = read_jwks({"keys": [jwk(EC_KEY, kid="a"), jwk(RSA_KEY, kid="b", alg="RS256")]})
    verify(parse(sign({}, header={"kid": "b"})), keys)
    verify(parse(sign({})), keys)
    for header in ({"kid": "a"}, {"kid": "c"}):
        with pytest.raises(JwtError, match="no known key"):
            verify(parse(sign({}, header=header)), keys)
    with pytest.raises(JwtError, match="no known key"):
        verify(parse(sign({}, alg="PS256")), keys)  # its key says RS256


def test_one_token_has_one_spelling() -> None:
    text = sign({"a": 1})
    head, claims, signature = text.split(".")
    loose = signature[:-1] + ("B" if signature[-1] == "A" else "A")
    variants = [f"{head}=.{claims}.{signature}", f"{head}.{claims}.{signature}\n",
                f"{head}.{claims}", f"{head}.{claims}.{signature}.{signature}", ""]  # fmt: skip
    for each in variants:
        with pytest.raises(JwtError):
            parse(each)
    with pytest.raises(JwtError):
        verify(parse(f"{head}.{claims}.{loose}"), [read_pem(pem(RSA_KEY))])


@pytest.mark.parametrize(
    "header",
    [{"kid": 1}, {"alg": None}, {"crit": ["exp"]}, {"alg": ["RS256"]}],
    ids=["kid", "no alg", "crit", "list of alg"],
)
def test_headers_that_say_nothing_clear(header: Any) -> None:
    with pytest.raises(JwtError, match=r"header: |unexpected signature"):
        parse(sign({}, header=header))


def test_deep_or_huge_tokens_are_refused() -> None:
    deep = b64(b"[" * 20_000)
    with pytest.raises(JwtError, match=r"header is (nested too deeply|no JSON)"):
        parse(f"{deep}.{deep}.AA")
    with pytest.raises(JwtError, match="longer than"):
        parse("a" * 70_000)
    with pytest.raises(JwtError, match="claims is no JSON object"):
        parse(f"{RS}.{b64(b'[]')}.AA")


def test_weak_and_strange_keys_are_refused() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(JwtError, match="RSA keys have 2048"):
        read_pem(pem(weak))
    with pytest.raises(JwtError, match="signs no tokens"):
        read_pem(pem(ec.generate_private_key(ec.SECP256K1())))
    with pytest.raises(JwtError, match="does not contain any valid"):
        read_pem("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    others = [
        jwk(weak),
        {"kty": "oct", "k": "AA"},
        7,
        jwk(RSA_KEY, use="enc"),
        {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"},
    ]
    assert read_jwks({"keys": others}) == ()
    for value in ({}, [], {"keys": {}}, None):
        with pytest.raises(JwtError, match="no list of keys"):
            read_jwks(value)
    with pytest.raises(JwtError, match="more than"):
        read_jwks({"keys": [{}] * (KEYS_MAX + 1)})


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_no_text_does_more_than_fail(text: str) -> None:
    with pytest.raises(JwtError):
        parse(text)


_json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_json, _json)
def test_any_json_in_its_parts_is_a_token_or_refused(head: Any, claims: Any) -> None:
    text = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims).encode())}.AA"
    try:
        token = parse(text)
    except JwtError:
        return
    with pytest.raises(JwtError):
        verify(token, [read_pem(pem(EC_KEY))])


@given(st.integers(0, 3000), st.integers(1, 255))
def test_a_changed_byte_is_noticed(at: int, by: int) -> None:
    text = sign({"sub": "a", "n": list(range(20))}, key=EC_KEY, alg="ES256")
    raw = bytearray(text.encode())
    raw[at % len(raw)] ^= by
    changed = raw.decode("latin-1")
    with pytest.raises(JwtError):
        verify(parse(changed), [read_pem(pem(EC_KEY))])


@given(_json)
def test_any_key_set_is_read_or_refused(value: Any) -> None:
    try:
        read_jwks({"keys": value} if isinstance(value, list) else value)
    except JwtError:
        pass


def test_errors_hold_nothing_of_the_token() -> None:
    secret = base64.urlsafe_b64encode(b"very secret").decode()
    with pytest.raises(JwtError) as error:
        parse(f"{secret}.{secret}.{secret}")
    assert secret[:6] not in str(error.value) and "very" not in str(error.value)
