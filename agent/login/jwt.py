"""Signed tokens of others: JSON Web Tokens (RFC 7515, 7517, 7518, 7519), read and verified. Pure.

Only what an issuer signs with a key of its own is taken: RSA, elliptic curves, Ed25519. A token
that wants no signature (``none``), or one by a shared secret (``HS…``), is refused before any key
is looked at, so a public key can never be taken for such a secret. A key verifies only with the
algorithms of its own kind; which key a token means (``kid``) narrows the choice, never widens it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

#: A token longer than this is none that an issuer makes.
TOKEN_BYTES_MAX = 64 * 1024
#: Keys of one method.
KEYS_MAX = 64
RSA_BITS_MIN = 2048
RSA_BITS_MAX = 8192

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512(),
}  # fmt: skip
#: Algorithm -> the curve that its keys are on, with the bytes of a coordinate (RFC 7518, 3.4).
_CURVES = {"ES256": ("secp256r1", 32), "ES384": ("secp384r1", 48), "ES512": ("secp521r1", 66)}
_JWK_CURVES: Mapping[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1(),
}  # fmt: skip
ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)


class JwtError(ValueError):
    """The token, or the key, cannot be used; the text never holds any of the token."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key. ``id`` and ``algorithm`` are "" where its issuer does not say."""

    key: PublicKey
    id: str = ""
    algorithm: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """A token in pieces; nothing of it is proved yet."""

    algorithm: str
    key_id: str
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def parse(text: str, *, ours_to_verify: bool = True, bytes_max: int = TOKEN_BYTES_MAX) -> Token:
    """Take a compact token apart. Raises JwtError, also for a signature that we never accept.

    ``ours_to_verify`` False is for one that somebody else will: it may be signed in any way.
    """
    if len(text) > bytes_max:
        raise JwtError(f"token is longer than {bytes_max} bytes")
    parts = text.split(".")
    if len(parts) != 3:
        raise JwtError("compact JWS format must have three parts")
    header = _object(parts[0], "header")
    claims = _object(parts[1], "claims")
    algorithm, key_id = header.get("alg"), header.get("kid", "")
    if not isinstance(algorithm, str) or not isinstance(key_id, str):
        raise JwtError("header: alg and kid must be strings")
    if "crit" in header:
        raise JwtError("header: critical extensions are not understood")
    if ours_to_verify and algorithm not in ALGORITHMS:
        raise JwtError("unexpected signature algorithm")
    signed = f"{parts[0]}.{parts[1]}".encode("ascii", "replace")
    return Token(algorithm, key_id, claims, signed, _decoded(parts[2], "signature"))


def verify(token: Token, keys: Iterable[Key], algorithms: Sequence[str] = ()) -> None:
    """Check the signature. ``algorithms``: those allowed, none for all. Raises JwtError."""
    if algorithms and token.algorithm not in algorithms:
        raise JwtError(f"unexpected signature algorithm; expected {list(algorithms)}")
    for key in keys:
        if token.key_id and key.id and key.id != token.key_id:
            continue
        if key.algorithm and key.algorithm != token.algorithm:
            continue
        if _verifies(token, key.key):
            return
    raise JwtError("no known key successfully validated the token signature")


def _verifies(token: Token, key: PublicKey) -> bool:
    algorithm, digest = token.algorithm, _HASHES.get(token.algorithm[2:])
    try:
        match key:
            case rsa.RSAPublicKey() if algorithm[:2] in {"RS", "PS"} and digest is not None:
                scheme: padding.AsymmetricPadding = padding.PKCS1v15()
                if algorithm.startswith("PS"):
                    scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
                key.verify(token.signature, token.signed, scheme, digest)
            case ec.EllipticCurvePublicKey() if algorithm in _CURVES and digest is not None:
                curve, size = _CURVES[algorithm]
                if key.curve.name != curve or len(token.signature) != 2 * size:
                    return False
                r, s = token.signature[:size], token.signature[size:]
                signature = encode_dss_signature(int.from_bytes(r), int.from_bytes(s))
                key.verify(signature, token.signed, ec.ECDSA(digest))
            case ed25519.Ed25519PublicKey() if algorithm == "EdDSA":
                key.verify(token.signature, token.signed)
            case _:
                return False
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def read_pem(text: str) -> Key:
    """A public key, or the key of a certificate. Raises JwtError."""
    raw = text.encode("utf-8", "replace")
    try:
        if "-----BEGIN CERTIFICATE-----" in text:
            return Key(_checked(x509.load_pem_x509_certificate(raw).public_key()))
        return Key(_checked(serialization.load_pem_public_key(raw)))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if isinstance(error, JwtError):
            raise
        raise JwtError(
            "data does not contain any valid RSA, ECDSA or Ed25519 public keys"
        ) from None


def read_jwks(value: Any) -> tuple[Key, ...]:
    """The keys of a set that verify signatures; those of other kinds are left out.

    Raises JwtError.
    """
    found = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise JwtError("the key set has no list of keys")
    if len(found) > KEYS_MAX:
        raise JwtError(f"the key set has more than {KEYS_MAX} keys")
    keys = [key for each in found if isinstance(each, dict) if (key := _jwk(each)) is not None]
    return tuple(keys)


def _jwk(value: Mapping[str, Any]) -> Key | None:
    if value.get("use", "sig") != "sig":
        return None
    key_id, algorithm = value.get("kid", ""), value.get("alg", "")
    if not isinstance(key_id, str) or not isinstance(algorithm, str):
        return None
    try:
        key = _jwk_key(value)
        return None if key is None else Key(_checked(key), key_id, algorithm)
    except (JwtError, ValueError, UnsupportedAlgorithm):
        return None


def _jwk_key(value: Mapping[str, Any]) -> PublicKey | None:
    match value.get("kty"), value.get("crv"):
        case "RSA", _:
            return rsa.RSAPublicNumbers(_number(value, "e"), _number(value, "n")).public_key()
        case "EC", str(curve) if curve in _JWK_CURVES:
            x, y = _number(value, "x"), _number(value, "y")
            return ec.EllipticCurvePublicNumbers(x, y, _JWK_CURVES[curve]).public_key()
        case "OKP", "Ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(_decoded(value.get("x"), "x"))
        case _:
            return None


def _number(value: Mapping[str, Any], name: str) -> int:
    return int.from_bytes(_decoded(value.get(name), name))


def _checked(key: object) -> PublicKey:
    match key:
        case rsa.RSAPublicKey():
            if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
                raise JwtError(
                    f"RSA keys have {RSA_BITS_MIN} to {RSA_BITS_MAX} bits, not {key.key_size}"
                )
            return key
        case ec.EllipticCurvePublicKey() if key.curve.name in {c for c, _ in _CURVES.values()}:
            return key
        case ed25519.Ed25519PublicKey():
            return key
        case _:
            raise JwtError("the key is of a kind that signs no tokens")


def _object(part: str, what: str) -> dict[str, Any]:
    try:
        found = json.loads(_decoded(part, what))
    except RecursionError:
        raise JwtError(f"{what} is nested too deeply") from None
    except ValueError as error:
        if isinstance(error, JwtError):
            raise
        raise JwtError(f"{what} is no JSON") from None
    if not isinstance(found, dict):
        raise JwtError(f"{what} is no JSON object")
    return found


def _decoded(part: Any, what: str) -> bytes:
    if not isinstance(part, str) or len(part) % 4 == 1:
        raise JwtError(f"{what} is no base64url text")
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars="-_", validate=True)
    except (binascii.Error, ValueError):
        raise JwtError(f"{what} is no base64url text") from None
    # "+", "/" and bits that nothing stands for would let one token have two spellings.
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != part.encode("ascii", "replace"):
        raise JwtError(f"{what} is no base64url text")
    return raw
