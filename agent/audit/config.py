"""The `audit` stanza as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.durations import DurationError, parse_s
from agent.errors import ConfigError

SINKS_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkConfig:
    """A file that events are appended to. 0 for any bound: none.

    It is put aside when it has ``rotate_bytes`` or is ``rotate_duration_s`` old; of those put aside
    the last ``rotate_max_files`` are kept.
    """

    name: str
    path: str
    rotate_bytes: int = 0
    rotate_duration_s: float = 24 * 3600.0
    rotate_max_files: int = 0


def audit_sinks(value: Any) -> tuple[SinkConfig, ...]:
    """Where events go; nowhere unless it is enabled. Raises ConfigError."""
    stanza = _merged(value, "audit")
    unknown = set(stanza) - {"enabled", "sink"}
    if unknown:
        raise ConfigError(f"invalid config key audit.{min(unknown)}")
    enabled = stanza.get("enabled", False)
    if not isinstance(enabled, bool):
        raise ConfigError("audit.enabled: expected type 'bool'")
    given = _merged(stanza.get("sink", {}), "audit.sink")
    sinks = tuple(_sink(name, _merged(each, "audit.sink")) for name, each in given.items())
    if len(sinks) > SINKS_MAX:
        raise ConfigError(f"audit.sink: there may be {SINKS_MAX} at most")
    paths = [sink.path for sink in sinks]
    if len(set(paths)) < len(paths):
        raise ConfigError("audit.sink: two of them have the same path")
    return sinks if enabled else ()


def _merged(value: Any, path: str) -> dict[str, Any]:
    """A stanza: an object, or as HCL has it a list of such."""
    found: dict[str, Any] = {}
    for each in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
        if not isinstance(each, Mapping):
            raise ConfigError(f"{path}: expected an object")
        found.update(each)
    return found


def _sink(name: str, given: Mapping[str, Any]) -> SinkConfig:
    where = f'audit.sink "{name}"'
    known = {"type", "format", "path", "delivery_guarantee", "mode", "rotate_bytes",
             "rotate_duration", "rotate_max_files"}  # fmt: skip
    unknown = set(given) - known
    if unknown:
        raise ConfigError(f"{where}: invalid config key {min(unknown)}")
    for key, only in (("type", "file"), ("format", "json"), ("delivery_guarantee", "best-effort")):
        if given.get(key, only) != only:
            raise ConfigError(f'{where}: {key} must be "{only}"')
    if given.get("mode", "0600") not in {"0600", "600", ""}:
        raise ConfigError(f"{where}: mode: the file is its owner's alone (0600)")
    path = given.get("path", "")
    if not isinstance(path, str) or not path:
        raise ConfigError(f"{where}: path is missing")
    numbers = {}
    for key in ("rotate_bytes", "rotate_max_files"):
        number = given.get(key, 0)
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ConfigError(f"{where}: {key} must be a number that is not negative")
        numbers[key] = number
    text = given.get("rotate_duration", "24h")
    try:
        seconds = parse_s(text) if isinstance(text, str) else -1.0
    except DurationError as error:
        raise ConfigError(f"{where}: rotate_duration: {error}") from None
    if seconds < 0:
        raise ConfigError(f"{where}: rotate_duration must be a duration that is not negative")
    return SinkConfig(name=name, path=path, rotate_duration_s=seconds, **numbers)
