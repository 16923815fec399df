"""Go's duration strings, for the agent. They are read where config entries are too."""

from __future__ import annotations

from raftstore.durations import DurationError, format_ns, format_s, parse_ns, parse_s

__all__ = ["DurationError", "format_ns", "format_s", "parse_ns", "parse_s"]
