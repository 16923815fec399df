"""Where a server has the key from that the mesh's signing keys are sealed with."""

from __future__ import annotations

import logging
import os

from agent.connect.sealing import Seal, read_key
from agent.errors import ConfigError

log = logging.getLogger("lictor.agent")

#: Has the seal key where no file is named. Taken out of the environment once it is read, so that no
#: child (a check, a sidecar) has it.
SEAL_KEY_VARIABLE = "LICTOR_CA_SEAL_KEY"


def read_seal(path: str, *, on_disk: bool = True) -> Seal:
    """What the mesh's signing keys are sealed with before they reach the log; ``on_disk``: whether
    that log is kept, so that a key that lies clear in it is worth a warning.

    Raises ConfigError for a file that is none.
    """
    given = os.environ.pop(SEAL_KEY_VARIABLE, "")
    try:
        if path:
            with open(path, encoding="ascii") as file:
                given = file.read(256)
        if path or given:
            return Seal(read_key(given))
    except (OSError, ValueError) as error:
        raise ConfigError(f"connect.ca_seal_key_file: {error}") from error
    if on_disk:
        log.warning(
            "the mesh's signing keys lie clear in the log and in snapshots: "
            "connect.ca_seal_key_file"
        )
    return Seal()
