"""Keys and tokens of an issuer that signs whatever a test wants."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
P384_KEY = ec.generate_private_key(ec.SECP384R1())
P521_KEY = ec.generate_private_key(ec.SECP521R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
_HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def pem(key: SigningKey) -> str:
    raw = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return raw.decode()


def sign(claims: Any, *, key: SigningKey = RSA_KEY, alg: str = "RS256", header: Any = None) -> str:
    """A compact token."""
    head = {"alg": alg, "typ": "JWT", **(header or {})}
    signed = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(signature(signed.encode(), key, alg))}"


def signature(signed: bytes, key: SigningKey, alg: str) -> bytes:
    digest = _HASHES.get(alg[2:], hashes.SHA256())
    match key:
        case rsa.RSAPrivateKey():
            scheme: padding.AsymmetricPadding = padding.PKCS1v15()
            if alg.startswith("PS"):
                scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
            return key.sign(signed, scheme, digest)
        case ec.EllipticCurvePrivateKey():
            size = (key.curve.key_size + 7) // 8
            r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(digest)))
            return r.to_bytes(size) + s.to_bytes(size)
        case _:
            return key.sign(signed)


def jwk(key: SigningKey, **more: Any) -> dict[str, Any]:
    """The public key as a member of a key set."""
    match key.public_key():
        case rsa.RSAPublicKey() as public:
            numbers = public.public_numbers()
            size = (public.key_size + 7) // 8
            found: dict[str, Any] = {
                "kty": "RSA", "n": b64(numbers.n.to_bytes(size)), "e": b64(numbers.e.to_bytes(3)),
            }  # fmt: skip
        case ec.EllipticCurvePublicKey() as public:
            size = (public.curve.key_size + 7) // 8
            xy = public.public_numbers()
            found = {
                "kty": "EC", "crv": f"P-{public.curve.key_size}",
                "x": b64(xy.x.to_bytes(size)), "y": b64(xy.y.to_bytes(size)),
            }  # fmt: skip
        case public:
            raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
            found = {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
    return found | more
