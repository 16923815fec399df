"""The ring's AES-GCM keys: seal with the first, open with any, change them while running.

Gossip wire contract, section 1.7. Nonces come in as arguments; what is sealed and where the bytes
go is decided in gossip.wire.frames and gossip.wire.streams.
"""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gossip.config import KEY_LENGTHS
from gossip.errors import DecodeError, KeyringError

NONCE_BYTES = 12
TAG_BYTES = 16
BLOCK_BYTES = 16
OVERHEAD_BYTES = 1 + NONCE_BYTES + TAG_BYTES  # version 1


class Keyring:
    """An ordered list of keys; index 0 is the primary."""

    __slots__ = ("_ciphers", "_keys")

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self._keys: list[bytes] = []
        self._ciphers: dict[bytes, AESGCM] = {}
        for key in keys:
            self.install(key)

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All keys, the primary first."""
        return tuple(self._keys)

    def install(self, key: bytes) -> None:
        """Add a key at the end; one that is there already is fine."""
        if len(key) not in KEY_LENGTHS:
            raise KeyringError("key size must be 16, 24 or 32 bytes")
        if key not in self._ciphers:
            self._keys.append(key)
            self._ciphers[key] = AESGCM(key)

    def use(self, key: bytes) -> None:
        """Make an installed key the primary."""
        if key not in self._ciphers:
            raise KeyringError("Requested key is not in the keyring")
        self._keys.remove(key)
        self._keys.insert(0, key)

    def remove(self, key: bytes) -> None:
        """Drop a key; an absent one is fine, the primary is not."""
        if self._keys and key == self._keys[0]:
            raise KeyringError("Removing the primary key is not allowed")
        if key in self._ciphers:
            self._keys.remove(key)
            del self._ciphers[key]

    def seal(self, plain: bytes, *, nonce: bytes, associated: bytes, version: int = 1) -> bytes:
        """`version || nonce || ciphertext || tag` under the primary key."""
        assert self._keys, "seal without a key"
        assert len(nonce) == NONCE_BYTES
        if version == 0:
            padding = BLOCK_BYTES - len(plain) % BLOCK_BYTES
            plain += bytes((padding,)) * padding
        sealed = self._ciphers[self._keys[0]].encrypt(nonce, plain, associated)
        return bytes((version,)) + nonce + sealed

    def open(self, payload: bytes, *, associated: bytes) -> bytes:
        """The plain bytes under whichever key fits. Raises DecodeError ("undecryptable")."""
        if len(payload) < OVERHEAD_BYTES or payload[0] > 1:
            raise DecodeError("not an encrypted payload", reason="undecryptable")
        nonce, sealed = payload[1 : 1 + NONCE_BYTES], payload[1 + NONCE_BYTES :]
        for key in self._keys:
            try:
                plain = self._ciphers[key].decrypt(nonce, sealed, associated)
            except InvalidTag:
                continue
            return _unpad(plain) if payload[0] == 0 else plain
        raise DecodeError("no key opens the payload", reason="undecryptable")


def _unpad(plain: bytes) -> bytes:
    padding = plain[-1] if plain else 0
    if not 1 <= padding <= BLOCK_BYTES or padding > len(plain):
        raise DecodeError("bad padding", reason="undecryptable")
    return plain[:-padding]
