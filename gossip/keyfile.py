"""The keyring on disk: a JSON list of base64 keys, the primary first, as Serf and Consul keep it.

Gossip wire contract, section 6. A file that cannot be read is an error, never an empty ring: the
member would talk in plain text.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterable

from gossip.config import KEY_LENGTHS
from gossip.errors import KeyringError

FILE_BYTES_MAX = 64 * 1024


def load(path: str) -> tuple[bytes, ...] | None:
    """The keys, None when there is no file. Raises KeyringError when it holds none."""
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyringError(f"keyring {path} cannot be read: {error.strerror}") from None
    if len(data) > FILE_BYTES_MAX:
        raise KeyringError(f"keyring {path} is larger than {FILE_BYTES_MAX} bytes")
    return parse(data, path)


def parse(data: bytes, path: str) -> tuple[bytes, ...]:
    """The keys in a file's content, each once. Raises KeyringError."""
    try:
        listed = json.loads(data)
        if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
            raise KeyringError(f"keyring {path} is not a JSON list of texts")
        keys = tuple(dict.fromkeys(base64.b64decode(item, validate=True) for item in listed))
    except (ValueError, RecursionError, binascii.Error) as error:
        raise KeyringError(f"keyring {path} cannot be read: {error}") from None
    if not keys:
        raise KeyringError(f"keyring {path} contains no keys")
    if any(len(key) not in KEY_LENGTHS for key in keys):
        raise KeyringError(f"keyring {path}: key size must be 16, 24 or 32 bytes")
    return keys


def text(keys: Iterable[bytes]) -> str:
    """The file's content for these keys."""
    return json.dumps([base64.b64encode(key).decode() for key in keys], indent=2)


def save(path: str, keys: Iterable[bytes]) -> None:
    """Replace the file, durably: a crash leaves the old keys or the new. Raises OSError."""
    temporary = f"{path}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        os.fchmod(descriptor, 0o600)  # a leftover of an earlier crash may be open to others
        file.write(text(keys))
        file.flush()
        os.fsync(descriptor)
    os.replace(temporary, path)
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
