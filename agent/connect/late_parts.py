"""What a sidecar is given that few want: patterns, and who verifies tokens.

They bring a compiler of patterns and a library of cryptography, 14 MB together, so they are loaded
when the agent first tells of a pattern or of a provider of tokens (`MARKS`): on a thread, before
the first request needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What stands in an answer of the feed that wants a module.
MARKS: Mapping[bytes, str] = {b'Regex"': "agent.full_match", b'"jwt/': "agent.login.jose"}


def full_match(pattern: str, text: str) -> bool:
    """As `agent.full_match.full_match`."""
    from agent import full_match as late

    return late.full_match(pattern, text)


class Jose:
    """As `agent.login.jose.Jose`."""

    def keys(self, jwks: bytes) -> Any:
        """The keys of a set. Raises TokenError."""
        from agent.login import jose

        return jose.Jose().keys(jwks)

    def claims(self, token: str, keys: Any) -> Mapping[str, Any]:
        """What a token says. Raises TokenError."""
        from agent.login import jose

        return jose.Jose().claims(token, keys)
