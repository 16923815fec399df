"""Parts of `http_config` -> what the HTTP API refuses, and what goes with every answer."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from agent.config.schema import HttpRules
from agent.errors import ConfigError

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def http_rules(fields: Mapping[str, Any]) -> HttpRules:
    """What the operator wants. Raises ConfigError."""
    for text in fields.get("allow_write_http_from", ()):
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise ConfigError(f"http_config.allow_write_http_from: invalid cidr: {text}") from None
    for name, value in fields.get("response_headers", {}).items():
        # A line break would end the header, and what follows would be the server's own words.
        if not _HEADER.fullmatch(name) or any(ord(char) < 32 or char == "\x7f" for char in value):
            raise ConfigError(f"http_config.response_headers: {name!r} is no header")
    return HttpRules(**fields)
