"""Keys: sealing, opening, changing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.errors import DecodeError, KeyringError
from gossip.keyring import Keyring

A, B, C = bytes(16), bytes(range(24)), bytes(range(32))


@given(
    st.binary(max_size=100),
    st.sampled_from([A, B, C]),
    st.sampled_from([0, 1]),
    st.binary(max_size=9),
)
def test_what_was_sealed_is_opened_by_whoever_has_the_key(
    plain: bytes, key: bytes, version: int, associated: bytes
) -> None:
    sealed = Keyring([key]).seal(plain, nonce=bytes(12), associated=associated, version=version)
    assert Keyring([A, B, C]).open(sealed, associated=associated) == plain
    with pytest.raises(DecodeError):
        Keyring([bytes(31) + b"x"]).open(sealed, associated=associated)
    with pytest.raises(DecodeError):
        Keyring([key]).open(sealed, associated=associated + b"x")


@given(st.binary(max_size=80))
def test_any_payload_is_opened_or_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        Keyring([A]).open(data, associated=b"")


def test_a_rotation_installs_uses_and_removes() -> None:
    ring = Keyring([A])
    ring.install(B)
    ring.install(B)
    assert ring.keys == (A, B)
    with pytest.raises(KeyringError, match="not in the keyring"):
        ring.use(C)
    ring.use(B)
    assert ring.keys == (B, A)
    with pytest.raises(KeyringError, match="primary"):
        ring.remove(B)
    ring.remove(A)
    ring.remove(A)
    assert ring.keys == (B,)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(KeyringError):
        Keyring([bytes(17)])
