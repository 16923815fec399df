"""The file of known peers: after a restart a member finds its ring without being told.

Gossip wire contract, section 5.8; the file is local, so its format is ours: JSON, replaced whole
and atomically. A damaged file is as good as none.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterable

log = logging.getLogger("lictor.gossip.rejoin")

FORMAT = 1
FILE_BYTES_MAX = 4 * 1024 * 1024
PEERS_MAX = 1024  # enough to find the ring again; more only makes the file long


def load(path: str) -> tuple[str, ...]:
    """Addresses (`host:port`) of the peers known last; empty when there are none."""
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise ValueError("file too large")  # noqa: TRY301
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise ValueError("unknown format")  # noqa: TRY301
        return tuple(str(peer) for peer in document["peers"][:PEERS_MAX])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("rejoin file ignored path=%s error=%s", path, error)
        return ()


def save(path: str, peers: Iterable[str]) -> None:
    """Replace the file. Raises OSError."""
    document = {"format": FORMAT, "peers": list(peers)[:PEERS_MAX]}
    temporary = f"{path}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def forget(path: str) -> None:
    """A graceful leave: do not come back by ourselves."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
