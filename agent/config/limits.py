"""The keys of bounds on requests -> RequestLimits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.errors import ConfigError
from agent.quotas import Mode, RequestLimits

_MODES = [mode.value for mode in Mode]


def request_limits(fields: Mapping[str, Any], *, server: bool) -> RequestLimits:
    """The bounds of this agent. Raises ConfigError for a mode that there is not.

    `limits.rpc_rate` bounds what a client agent asks of servers; on a server it means nothing.
    """
    given = dict(fields)
    mode = str(given.get("mode", "")) or Mode.DISABLED.value
    if mode not in _MODES:
        raise ConfigError(f'limits.request_limits.mode: "{mode}" is not one of {", ".join(_MODES)}')
    if server:
        given.pop("rpc_rate", None)
        given.pop("rpc_burst", None)
    return RequestLimits(**given | {"mode": mode})
