"""The keyring's file: what is written is read, what is no keyring is an error."""

from __future__ import annotations

import json
import os
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import keyfile
from gossip.errors import KeyringError

KEYS = (bytes(16), bytes(range(24)), bytes(range(32)))


@given(st.lists(st.sampled_from(KEYS), min_size=1, unique=True))
def test_what_is_written_is_read(keys: list[bytes]) -> None:
    assert keyfile.parse(keyfile.text(keys).encode(), "f") == tuple(keys)


@given(st.binary(max_size=80))
def test_any_content_is_a_keyring_or_an_error(data: bytes) -> None:
    try:
        assert keyfile.parse(data, "f")
    except KeyringError:
        pass


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"[1]", b'["x"]', b'["YWJj"]', b"[" * 9000, b'"AAAA"'],
)
def test_what_is_no_keyring_is_refused(data: bytes) -> None:
    with pytest.raises(KeyringError, match="keyring f"):
        keyfile.parse(data, "f")


def test_the_file_is_private_and_replaced_whole(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "local.keyring"
    assert keyfile.load(str(path)) is None
    leftover = tmp_path / "local.keyring.tmp"
    leftover.write_text("half")
    leftover.chmod(0o644)
    keyfile.save(str(path), KEYS)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert keyfile.load(str(path)) == KEYS
    assert len(json.loads(path.read_text())) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["local.keyring"]


def test_a_file_that_is_too_large_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "local.keyring"
    path.write_text('["' + "A" * keyfile.FILE_BYTES_MAX + '"]')
    with pytest.raises(KeyringError, match="larger"):
        keyfile.load(str(path))
