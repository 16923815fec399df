"""Tokens of requests in sidecars, verified by the same code as those of logins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agent.login import jwt
from proxy.jwt import TokenError


class Jose:
    """What a proxy needs of keys and signatures (`proxy.jwt.Jose`)."""

    def keys(self, jwks: bytes) -> tuple[jwt.Key, ...]:
        """The keys of a set, or of a PEM text. Raises TokenError."""
        try:
            if jwks.lstrip().startswith(b"-----BEGIN"):
                return (jwt.read_pem(jwks.decode("ascii", "replace")),)
            keys = jwt.read_jwks(json.loads(jwks))
        except jwt.JwtError as error:
            raise TokenError(str(error)) from error
        except (ValueError, RecursionError) as error:
            raise TokenError("the key set is no JSON") from error
        if not keys:
            raise TokenError("the key set has no key that verifies signatures")
        return keys

    def claims(self, token: str, keys: Any) -> Mapping[str, Any]:
        """What a token says. Raises TokenError."""
        try:
            parsed = jwt.parse(token)
        except jwt.JwtError as error:
            raise TokenError(str(error)) from error
        known = not parsed.key_id or any(key.id in {"", parsed.key_id} for key in keys)
        try:
            jwt.verify(parsed, keys)
        except jwt.JwtError as error:
            raise TokenError(str(error), unknown_key=not known) from error
        return parsed.claims
