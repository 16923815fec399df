"""The agent's own tokens that were set while it ran, kept over a restart (`acl-tokens.json`).

The file is Consul's, its owner's alone. What it holds beats the configuration: it was said later.
"""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

from agent.acl.agent_tokens import NAMES, AgentTokens
from agent.errors import ConfigError
from agent.local.identity import write_durably

log = logging.getLogger("lictor.agent.acl")

FILE = "acl-tokens.json"
FILE_BYTES_MAX = 64 * 1024
SECRET_CHARS_MAX = 512
_ONE_AT_A_TIME = threading.Lock()


def load(data_dir: str) -> dict[str, str]:
    """Our names of tokens -> secrets; nothing where there is no file. Raises ConfigError."""
    path = Path(data_dir) / FILE
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    try:
        found = json.loads(raw[:FILE_BYTES_MAX])
    except (ValueError, RecursionError):
        raise ConfigError(f"{path}: it cannot be read; remove it or mend it") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: it is no JSON object; remove it or mend it")
    tokens = {
        NAMES[name]: secret
        for name, secret in found.items()
        if name in NAMES and isinstance(secret, str) and len(secret) <= SECRET_CHARS_MAX
    }
    for name in tokens:
        log.info("token of the persisted file counts name=%s", name)
    return tokens


def save(data_dir: str, tokens: AgentTokens) -> None:
    """Replace the file with all that was set; durable on return. Raises OSError.

    Of two at the same time the later one writes what both have set.
    """
    with _ONE_AT_A_TIME:
        text = json.dumps(dict(tokens.set_at_runtime), indent=2, sort_keys=True)
        write_durably(Path(data_dir) / FILE, text.encode() + b"\n")
