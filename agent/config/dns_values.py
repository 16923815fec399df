"""What values the keys of `dns_config` may have beyond their types (DNS contract, section 10)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from agent.errors import ConfigError

WORKERS_MAX = 64
RECURSOR_STRATEGIES = ("sequential", "random")


def check(fields: Mapping[str, Any]) -> None:
    """Raises ConfigError with the first fault; ``fields`` are those of DnsConfig that are set."""
    strategy = fields.get("recursor_strategy", RECURSOR_STRATEGIES[0])
    if strategy not in RECURSOR_STRATEGIES:
        raise ConfigError(
            f'dns_config.recursor_strategy cannot be "{strategy}". Must be "sequential" or "random"'
        )
    _check_workers(fields)
    for key in ("recursion_allowed_cidrs", "owned_ranges", "response_rate_exempt_cidrs"):
        for cidr in fields.get(key, ()):
            _network(key, cidr)


def _check_workers(fields: Mapping[str, Any]) -> None:
    count = fields.get("workers", 0)
    if count > WORKERS_MAX:
        raise ConfigError(f"dns_config.workers cannot be {count}. Must be at most {WORKERS_MAX}")
    if count and fields.get("response_rate_limit", 0):
        # Each would count for itself.
        raise ConfigError(
            "dns_config.workers and dns_config.response_rate_limit exclude each other"
        )


def _network(key: str, cidr: str) -> None:
    try:
        ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        raise ConfigError(f"dns_config.{key}: invalid CIDR: {cidr}") from None
