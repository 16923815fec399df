"""How log records leave the process: Consul's line format or JSON, on standard output.

One event per line; constant words first, then ``key=value``. Operators' tools parse this format
and wait for some texts (cli-config contract A2), so it is part of the interface.
"""

from __future__ import annotations

import json
import logging
import sys
import time

#: Consul's level names and ours.
LEVELS = {
    "TRACE": logging.DEBUG,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERR": logging.ERROR,
    "ERROR": logging.ERROR,
}
_WORDS = {
    logging.DEBUG: "[DEBUG]",
    logging.INFO: "[INFO] ",
    logging.WARNING: "[WARN] ",
    logging.ERROR: "[ERROR]",
    logging.CRITICAL: "[ERROR]",
}


def _stamp(created: float) -> str:
    millis = int(created * 1000) % 1000
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created)) + f".{millis:03d}Z"


def _topic(name: str) -> str:
    """The logger's name as operators know topics: "agent", "agent.rpc", "gossip"."""
    return name.removeprefix("lictor.")


class LineFormatter(logging.Formatter):
    """``2026-01-31T10:00:00.000Z [INFO]  agent.dns: words key=value``"""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, with the traceback behind it if there is one."""
        message = record.getMessage()
        word = _WORDS.get(record.levelno, "[INFO] ")
        line = f"{_stamp(record.created)} {word} {_topic(record.name)}: {message}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object per line with Consul's keys."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one JSON object."""
        entry = {
            "@level": logging.getLevelName(record.levelno).lower(),
            "@message": record.getMessage(),
            "@module": _topic(record.name),
            "@timestamp": _stamp(record.created),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def configure(level: str, *, as_json: bool) -> None:
    """Send all records of this process to standard output. ``level`` is one of ``LEVELS``."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter() if as_json else LineFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)  # other people's libraries
    set_level(level)


def set_level(level: str) -> None:
    """Change the level while running (reload)."""
    logging.getLogger("lictor").setLevel(LEVELS[level.upper()])
