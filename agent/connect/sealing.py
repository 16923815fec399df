"""Signing keys at rest: sealed with a key that only the servers have, or clear (mesh contract A.3).

What is replicated is in every server's log, in snapshots and in archives of them. A key that is
sealed is of no use to who gets hold of one of those. AES-256-GCM (NIST SP 800-38D) with a random
nonce of 96 bits; a handful of keys in a cluster's life, so no nonce comes twice. Pure: the nonce
comes in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field

from agent.errors import RequestError

KEY_BYTES = 32
NONCE_BYTES = 12
_MARK = "sealed:1:"
_BOUND_TO = b"lictor ca signing key"
NO_KEY = "the signing key is sealed, and this server has no connect.ca_seal_key_file"
OTHER_KEY = "the signing key is sealed with another key than this server's (seal key {})"


@dataclass(frozen=True, slots=True)
class Seal:
    """A key to seal with; without one everything stays clear."""

    key: bytes = field(default=b"", repr=False)

    @property
    def known_as(self) -> str:
        """What tells one seal key from another, for people; "" without one."""
        return hashlib.sha256(self.key).hexdigest()[:8] if self.key else ""

    def close(self, private_key: str, nonce: bytes) -> str:
        """As it is replicated."""
        if not self.key:
            return private_key
        assert len(nonce) == NONCE_BYTES
        # A library of 9 MB, which whoever has a private key in hand has loaded already.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        sealed = AESGCM(self.key).encrypt(nonce, private_key.encode(), _BOUND_TO)
        packed = base64.b64encode(nonce + sealed).decode()
        return f"{_MARK}{self.known_as}:{packed}"

    def open(self, kept: str) -> str:
        """The private key. Raises RequestError 500 where it is sealed with a key that we lack."""
        if not kept.startswith(_MARK):
            return kept
        if not self.key:
            raise RequestError(500, NO_KEY)
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        known_as, _, packed = kept.removeprefix(_MARK).partition(":")
        try:
            raw = base64.b64decode(packed, validate=True)
            plain = AESGCM(self.key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _BOUND_TO)
        except (binascii.Error, InvalidTag, ValueError):
            raise RequestError(500, OTHER_KEY.format(known_as[:8])) from None
        return plain.decode()

    def wants(self, kept: str) -> bool:
        """Whether a key that is kept so ought to be sealed."""
        return bool(self.key) and not kept.startswith(_MARK)


NO_SEAL = Seal()


def read_key(text: str) -> bytes:
    """A seal key from a file or the environment: 32 bytes as base64 or hexadecimal.

    Raises ValueError that says what is wrong, never what was given.
    """
    text = text.strip()
    for decode in (bytes.fromhex, lambda given: base64.b64decode(given, validate=True)):
        try:
            key = decode(text)
        except (ValueError, binascii.Error):
            continue
        if len(key) == KEY_BYTES:
            return key
    raise ValueError(f"a seal key is {KEY_BYTES} bytes as base64 or hexadecimal")
