"""Who this agent is over restarts: the node id, and a data directory that is its own.

The id is configured, or read from ``node-id`` in the data directory, or made at random and kept
there (agent contract, section 3). It must be on disk before the agent talks to anybody: an agent
that comes back with another id is another node, and its old services would stay as ghosts.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import uuid
from pathlib import Path

from agent.errors import ConfigError

#: Where Consul's agents look on Linux, in this order.
_HOST_IDS = (
    "/sys/class/dmi/id/product_uuid",
    "/etc/machine-id",
    "/proc/sys/kernel/random/boot_id",
)


def load_node_id(data_dir: str, configured: str, *, host_id: str = "") -> str:
    """The id to use; made and written (fsynced) when there is none. Raises ConfigError.

    It is made of ``host_id`` where that is given, else at random.
    """
    if configured:
        return configured.lower()
    fresh = _hashed(host_id) if host_id else str(uuid.uuid4())
    if not data_dir:
        return fresh
    path = Path(data_dir) / "node-id"
    try:
        text = path.read_text().strip().lower()
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise ConfigError(f"node id cannot be read: {error}") from None
    if text:
        try:
            return str(uuid.UUID(text))
        except ValueError:
            raise ConfigError(
                f"{path} does not hold a UUID. Remove the file to get a new id, which makes this "
                "host a new node"
            ) from None
    write_durably(path, fresh.encode())
    return fresh


def read_host_id() -> str:
    """What this host calls itself: its board's id, or that of its installation; "" for nothing."""
    for path in _HOST_IDS:
        try:
            text = Path(path).read_text().strip().lower()
        except OSError:
            continue
        try:
            return str(uuid.UUID(text))
        except ValueError:
            continue
    return ""


def _hashed(host_id: str) -> str:
    """A node id as Consul's agents make it of a host's, so that both give one host one id."""
    digest = hashlib.sha512(host_id.lower().encode()).hexdigest()
    parts = (digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32])
    return "-".join(parts)


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file so that after a crash there is the old content or the new, never half."""
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def claim_data_dir(data_dir: str) -> int:
    """Make the directory (0700) and lock it for this process; gives the lock's descriptor.

    Two agents on one directory would overwrite each other's journal. Raises ConfigError.
    """
    path = Path(data_dir)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(f"data_dir {data_dir!r} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigError(f"data_dir {data_dir!r} is in use by another agent") from None
    return descriptor
