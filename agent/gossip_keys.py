"""The gossip keys an agent starts with: of the keyring's file if there is one, else `encrypt`.

Cli-config contract, B: `encrypt` is for the first start. Afterwards keys are changed in the running
ring, so the file knows better than the configuration. A file that cannot be read ends the start: a
member without its keys would talk in plain text.
"""

from __future__ import annotations

import base64
import logging
from dataclasses import replace
from pathlib import Path

from agent.config.schema import AgentConfig
from agent.errors import ConfigError
from agent.membership import LAN, WAN, keyring_path
from gossip import KeyringError, keyfile

log = logging.getLogger("lictor.agent.gossip_keys")


def take_keys(config: AgentConfig) -> AgentConfig:
    """The configuration with the keys to start with. Raises ConfigError.

    The first start with `encrypt` writes the file.
    """
    given = (base64.b64decode(config.encrypt),) if config.encrypt else ()
    keys = _of_pool(config, given, LAN)
    if not config.in_wan:
        return replace(config, gossip_keys=keys)
    # A server that had no second pool before begins it with the keys of the first.
    return replace(config, gossip_keys=keys, gossip_wan_keys=_of_pool(config, keys, WAN))


def _of_pool(config: AgentConfig, given: tuple[bytes, ...], pool: str) -> tuple[bytes, ...]:
    path = keyring_path(config, pool)
    if not path:
        return given
    try:
        stored = keyfile.load(path)
        if stored is None and given:
            Path(path).parent.mkdir(mode=0o700, exist_ok=True)
            keyfile.save(path, given)
    except KeyringError as error:
        raise ConfigError(f"Failed to configure keyring: {error}") from None
    except OSError as error:
        raise ConfigError(f"Failed to configure keyring: {path}: {error.strerror}") from None
    if stored is not None and given and given[0] != stored[0]:
        log.warning(
            "%s keyring exists but another encrypt key is given, using the keyring path=%s",
            "LAN" if pool == LAN else "WAN",
            path,
        )
    return stored or given
