"""Durations as the API writes them: Go's text ("1m30s", "250ms") or nanoseconds."""

from __future__ import annotations

import re
from typing import Any

_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(given: Any, default: float) -> float:
    """In seconds; ``default`` for nothing, zero, or what cannot be read."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        return given / 1e9 or default
    if not isinstance(given, str):
        return default
    parts = _PART.findall(given)
    if "".join(number + unit for number, unit in parts) != given:
        return default
    return sum(float(number) * _UNITS[unit] for number, unit in parts) or default
