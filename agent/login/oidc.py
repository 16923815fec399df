"""Logins through a browser: OpenID Connect's authorization code flow, with PKCE. Pure.

Between the two halves of a login nothing is kept: what the second must know travels in ``state``,
sealed with a key of the servers, so any leader can finish what another began. RFC 6749 section 4.1,
RFC 7636 (PKCE, S256 always), OpenID Connect Core 1.0 section 3.1.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

#: A browser's part of a login may take so long, in seconds (the reference: ten minutes).
LIFE_S = 600.0
STATE_CHARS_MAX, CODE_CHARS_MAX, NONCE_CHARS_MAX = 4096, 4096, 256
_NONCE_BYTES = 12
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class OidcError(ValueError):
    """A login that cannot go on; the text is for the client and holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """How we are known to a provider, and where it may send a browser back to."""

    id: str
    secret: str = field(repr=False)
    redirects: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    acr_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """What discovery says of a provider. ``by_post``: it takes our secret in the body only."""

    issuer: str
    authorization_url: str
    token_url: str
    keys_url: str
    userinfo_url: str = ""
    by_post: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What the second half of a login must know of the first."""

    method: str
    redirect: str
    client_nonce: str
    nonce: str
    verifier: str
    ends_at: float
    meta: Mapping[str, str]


def read_provider(value: Any, discovery_url: str) -> Provider:
    """From a discovery document. Raises OidcError."""
    if not isinstance(value, dict) or str(value.get("issuer", "")).rstrip("/") != discovery_url:
        raise OidcError("oidc: issuer did not match the issuer of the provider")
    urls = {}
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
        url = value.get(name, "")
        if not isinstance(url, str) or (url and urlsplit(url).scheme not in {"http", "https"}):
            raise OidcError(f"oidc: {name} of the provider is no URL")
        if not url and name != "userinfo_endpoint":
            raise OidcError(f"oidc: the provider names no {name}")
        urls[name] = url
    ways = value.get("token_endpoint_auth_methods_supported")
    basic = not isinstance(ways, list) or "client_secret_basic" in ways
    return Provider(
        issuer=str(value["issuer"]),
        authorization_url=urls["authorization_endpoint"],
        token_url=urls["token_endpoint"],
        keys_url=urls["jwks_uri"],
        userinfo_url=urls["userinfo_endpoint"],
        by_post=not basic,
    )


def check_redirect(client: Client, redirect: str) -> None:
    """May a browser be sent there? On this very host any port will do (RFC 8252, 7.3).

    Raises OidcError.
    """
    if redirect in client.redirects:
        return
    try:
        wanted = urlsplit(redirect)
        same = any(_beside(wanted, urlsplit(allowed)) for allowed in client.redirects)
    except ValueError:
        same = False
    if not same:
        raise OidcError(f"unauthorized redirect_uri: {redirect[:256]}")


def _beside(wanted: Any, allowed: Any) -> bool:
    parts = (wanted.scheme, wanted.hostname, wanted.path, wanted.query, wanted.fragment)
    return allowed.hostname in _LOOPBACK and "@" not in wanted.netloc and parts == (
        allowed.scheme, allowed.hostname, allowed.path, allowed.query, allowed.fragment
    )  # fmt: skip


def authorization_url(provider: Provider, client: Client, begun: Begun, state: str) -> str:
    """Where the browser begins."""
    scopes = dict.fromkeys(("openid", *client.scopes))
    digest = hashlib.sha256(begun.verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": begun.redirect,
        "scope": " ".join(scopes),
        "state": state,
        "nonce": begun.nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    if client.acr_values:
        asked["acr_values"] = " ".join(client.acr_values)
    joint = "&" if urlsplit(provider.authorization_url).query else "?"
    return f"{provider.authorization_url}{joint}{urlencode(asked)}"


def exchange(client: Client, begun: Begun, code: str, *, by_post: bool) -> dict[str, str]:
    """The form that changes a code for tokens."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": begun.redirect,
        "code_verifier": begun.verifier,
    }
    return form | {"client_id": client.id, "client_secret": client.secret} if by_post else form


def check_claims(claims: Mapping[str, Any], client: Client, begun: Begun) -> None:
    """What OpenID Connect wants of an id token beside a signature, an issuer and times (3.1.3.7).

    Raises OidcError.
    """
    if claims.get("nonce") != begun.nonce:
        raise OidcError("error validating claims: invalid nonce")
    audience = claims.get("aud")
    meant = audience if isinstance(audience, list) else [audience]
    if client.id not in meant:
        raise OidcError("error validating claims: the token is not meant for this client (aud)")
    party = claims.get("azp")
    if (len(meant) > 1 or party is not None) and party != client.id:
        raise OidcError("error validating claims: invalid authorized party (azp)")


# -- state ---------------------------------------------------------------------------------------


def seal(begun: Begun, key: str, dice: bytes) -> str:
    """The state for a URL; ``dice`` are twelve random bytes. Raises OidcError for too much."""
    assert len(dice) == _NONCE_BYTES
    plain = json.dumps({**asdict(begun), "meta": dict(begun.meta)}).encode()
    sealed = dice + AESGCM(_key(key)).encrypt(dice, plain, None)
    state = base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
    if len(state) > STATE_CHARS_MAX:
        raise OidcError("RedirectURI and Meta are too long together")
    return state


def unseal(state: str, key: str, now: float) -> Begun:
    """What was sealed. Raises OidcError for what was not, or is too old."""
    try:
        raw = base64.urlsafe_b64decode(state.encode() + b"=" * (-len(state) % 4))
        plain = AESGCM(_key(key)).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None)
        begun = Begun(**json.loads(plain))
    except (ValueError, TypeError, InvalidTag):
        raise OidcError("Expired or missing OAuth state.") from None
    if begun.ends_at <= now:
        raise OidcError("Expired or missing OAuth state.")
    return begun


def _key(secret: str) -> bytes:
    """A key of its own, made of the servers' secret."""
    kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"lictor oidc state v1")
    return kdf.derive(secret.encode())
