"""The ring's AES-GCM keys: seal with the first, open with any, change them while running.

Gossip wire contract, section 1.7. Nonces come in as arguments; what is sealed and where the bytes
go is decided in gossip.wire.frames and gossip.wire.streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gossip.config import KEY_LENGTHS
from gossip.errors import DecodeError, KeyringError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
TAG_BYTES = 16
BLOCK_BYTES = 16
OVERHEAD_BYTES = 1 + NONCE_BYTES + TAG_BYTES  # version 1


class Keyring:
    """An ordered list of keys; index 0 is the primary.

    Streams are coded in worker threads while keys change: the list is replaced whole, never edited.
    """

    __slots__ = ("_entries",)

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self._entries: tuple[tuple[bytes, AESGCM], ...] = ()
        for key in keys:
            self.install(key)

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All keys, the primary first."""
        return tuple(key for key, _ in self._entries)

    def install(self, key: bytes) -> None:
        """Add a key at the end; one that is there already is fine."""
        self.replace(installed(self.keys, key))

    def use(self, key: bytes) -> None:
        """Make an installed key the primary."""
        self.replace(used(self.keys, key))

    def remove(self, key: bytes) -> None:
        """Drop a key; an absent one is fine, the primary is not."""
        self.replace(removed(self.keys, key))

    def replace(self, keys: Sequence[bytes]) -> None:
        """Hold these keys from now on, the primary first."""
        if not keys:
            self._entries = ()
            return
        # 9 MB of memory that a ring without keys does without.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        known = dict(self._entries)
        self._entries = tuple((key, known.get(key) or AESGCM(key)) for key in keys)

    def seal(self, plain: bytes, *, nonce: bytes, associated: bytes, version: int = 1) -> bytes:
        """`version || nonce || ciphertext || tag` under the primary key."""
        entries = self._entries
        assert entries, "seal without a key"
        assert len(nonce) == NONCE_BYTES
        if version == 0:
            padding = BLOCK_BYTES - len(plain) % BLOCK_BYTES
            plain += bytes((padding,)) * padding
        sealed = entries[0][1].encrypt(nonce, plain, associated)
        return bytes((version,)) + nonce + sealed

    def open(self, payload: bytes, *, associated: bytes) -> bytes:
        """The plain bytes under whichever key fits. Raises DecodeError ("undecryptable")."""
        if len(payload) < OVERHEAD_BYTES or payload[0] > 1:
            raise DecodeError("not an encrypted payload", reason="undecryptable")
        nonce, sealed = payload[1 : 1 + NONCE_BYTES], payload[1 + NONCE_BYTES :]
        if not self._entries:
            raise DecodeError("no key opens the payload", reason="undecryptable")
        from cryptography.exceptions import InvalidTag

        for _, cipher in self._entries:
            try:
                plain = cipher.decrypt(nonce, sealed, associated)
            except InvalidTag:
                continue
            return _unpad(plain) if payload[0] == 0 else plain
        raise DecodeError("no key opens the payload", reason="undecryptable")


def installed(keys: tuple[bytes, ...], key: bytes) -> tuple[bytes, ...]:
    """The ring with one key more. Raises KeyringError for a wrong length."""
    if len(key) not in KEY_LENGTHS:
        raise KeyringError("key size must be 16, 24 or 32 bytes")
    return keys if key in keys else (*keys, key)


def used(keys: tuple[bytes, ...], key: bytes) -> tuple[bytes, ...]:
    """The ring with this key as its primary. Raises KeyringError when it is not there."""
    if key not in keys:
        raise KeyringError("Requested key is not in the keyring")
    return (key, *(other for other in keys if other != key))


def removed(keys: tuple[bytes, ...], key: bytes) -> tuple[bytes, ...]:
    """The ring without this key. Raises KeyringError when it is the primary."""
    if keys and key == keys[0]:
        raise KeyringError("Removing the primary key is not allowed")
    return tuple(other for other in keys if other != key)


def _unpad(plain: bytes) -> bytes:
    padding = plain[-1] if plain else 0
    if not 1 <= padding <= BLOCK_BYTES or padding > len(plain):
        raise DecodeError("bad padding", reason="undecryptable")
    return plain[:-padding]
