"""The names that this host had when the catalog last heard of it.

A deregistration through the catalog names a node. A host that starts under another name looks for
those of its former names as well, or a service that was deregistered just before would come back
under the new one. Once the catalog has been compared under the present name, it is the only one.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from agent.local.identity import write_durably
from raftstore.records import NodeName

log = logging.getLogger("lictor.agent.local.former")

#: Renamed more often than this without a word from the catalog: the oldest name is forgotten.
NAMES_MAX = 8
_FILE = "node-names"
_FILE_BYTES_MAX = 64 * 1024


def former_names(data_dir: Path, name: NodeName) -> tuple[NodeName, ...]:
    """The names before ``name``, which is kept (fsynced) as the last one.

    Where it cannot be kept the agent starts all the same: only the next start could miss it.
    """
    names = _read(data_dir / _FILE)
    if names[-1:] != [name]:
        names = [*(each for each in names if each != name), name][-NAMES_MAX:]
        try:
            _write(data_dir, names)
        except OSError as error:
            log.warning("name of the node not kept error=%s", error)
    return tuple(NodeName(each) for each in names[:-1])


def keep_only(data_dir: Path, name: NodeName) -> None:
    """The catalog knows the host by this name and no other. Raises OSError."""
    _write(data_dir, [name])


def _read(path: Path) -> list[str]:
    try:
        names = json.loads(path.read_bytes()) if path.stat().st_size <= _FILE_BYTES_MAX else None
    except FileNotFoundError:
        return []
    except (ValueError, RecursionError):
        names = None
    if isinstance(names, list) and all(isinstance(each, str) for each in names):
        return names[-NAMES_MAX:]
    log.warning("skipping what cannot be read path=%s", path)
    return []


def _write(data_dir: Path, names: list[str]) -> None:
    write_durably(data_dir / _FILE, json.dumps(names).encode())
