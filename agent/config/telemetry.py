"""The keys of `telemetry` -> which metrics are told, under which names, and to whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.config.decode import Values
from agent.config.schema import TelemetryConfig
from agent.errors import ConfigError


def telemetry(fields: Mapping[str, Any], values: Values) -> TelemetryConfig:
    """What the user wants. Raises ConfigError."""
    for key in ("statsd_address", "statsite_address", "dogstatsd_addr"):
        text = values.get(f"telemetry.{key}", "")
        host, _, port = text.rpartition(":")
        if text and not (host and port.isdecimal() and 0 < int(port) <= 65535):
            raise ConfigError(f'telemetry.{key}: "{text}" is not an address with a port')
    rules = [text for text in values.get("telemetry.prefix_filter", ()) if text[:1] in {"+", "-"}]
    return TelemetryConfig(
        **fields,
        allowed=tuple(_name(text) for text in rules if text[0] == "+"),
        blocked=tuple(_name(text) for text in rules if text[0] == "-"),
    )


def _name(rule: str) -> str:
    """A rule's prefix as our metrics spell it."""
    return rule[1:].replace(".", "_").replace("-", "_")


def rule_warnings(values: Values) -> list[str]:
    """Rules of ``prefix_filter`` that say nothing."""
    return [
        f"Filter rule must begin with either '+' or '-': \"{text}\""
        if text
        else "Cannot have empty filter rule in prefix_filter"
        for text in values.get("telemetry.prefix_filter", ())
        if text[:1] not in {"+", "-"}
    ]
