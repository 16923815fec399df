"""How log records leave the process: Consul's line format or JSON, on standard output.

One event per line; constant words first, then ``key=value``. Operators' tools parse this format
and wait for some texts (cli-config contract A2), so it is part of the interface.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

#: Lines that are kept for a reader who does not take them.
TAP_LINES_MAX = 512

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


class Tap(logging.Handler):
    """Lines for one reader beside the standard output; a slow one loses the newest.

    ``on_line`` is called, by whichever thread logs, when there is something to take.
    """

    def __init__(self, level: str, *, as_json: bool, on_line: Callable[[], None]) -> None:
        super().__init__(LEVELS[level.upper()])
        self.setFormatter(formatter(as_json=as_json))
        self._on_line = on_line
        self._lines: deque[str] = deque()
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        if len(self._lines) >= TAP_LINES_MAX:
            self.dropped += 1
            return
        self._lines.append(self.format(record))
        self._on_line()

    def take(self) -> list[str]:
        """The lines since the last time."""
        return [self._lines.popleft() for _ in range(len(self._lines))]

    def __enter__(self) -> Tap:
        _output.taps.append(self)
        logging.getLogger().addHandler(self)
        _output.apply()
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)
        _output.taps.remove(self)
        _output.apply()


class Writable(Protocol):
    """What lines can be written to."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...


class _Output:
    """The levels that are wanted: what a tap wants must be made, and kept off standard output."""

    def __init__(self) -> None:
        self.level = logging.INFO
        self.handlers: tuple[logging.Handler, ...] = ()
        self.taps: list[Tap] = []

    def apply(self) -> None:
        for handler in self.handlers:
            handler.setLevel(self.level)
        lowest = min([self.level, *(tap.level for tap in self.taps)])
        logging.getLogger("lictor").setLevel(lowest)


_output = _Output()


def formatter(*, as_json: bool) -> logging.Formatter:
    """How records become lines."""
    return JsonFormatter() if as_json else LineFormatter()


def configure(level: str, *, as_json: bool) -> None:
    """Send all records of this process to standard output. ``level`` is one of ``LEVELS``."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter(as_json=as_json))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)  # other people's libraries
    _output.handlers = (handler,)
    set_level(level)


def also_into(stream: Writable, *, as_json: bool) -> None:
    """Write all that goes to standard output into something else too."""
    handler: logging.Handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(as_json=as_json))
    logging.getLogger().addHandler(handler)
    _output.handlers = (*_output.handlers, handler)
    _output.apply()


def set_level(level: str) -> None:
    """Change the level while running (reload)."""
    _output.level = LEVELS[level.upper()]
    _output.apply()
