"""The log as files that are begun anew by age and size, so nobody has to rotate them from outside.

Names and rules are Consul's: ``/var/log/consul.log`` stands for files ``/var/log/consul-TIME.log``,
TIME being nanoseconds since the epoch; a folder stands for ``consul`` in it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from agent.config.schema import LogFileConfig
from agent.errors import ConfigError

_NAME, _SUFFIX = "consul", ".log"


class LogFile:
    """What a log handler writes to; the handler's lock keeps its calls apart."""

    def __init__(self, config: LogFileConfig, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        """Begin a file. Raises ConfigError."""
        self._config = config
        self._now_ns = now_ns
        path = config.path
        folder, name = os.path.split(path)
        if os.path.isdir(path):
            folder, name = path, ""
        stem, suffix = os.path.splitext(name or _NAME)
        self._folder, self._stem, self._suffix = Path(folder or "."), stem, suffix or _SUFFIX
        self._file: TextIO
        try:
            self._begin()
        except OSError as error:
            raise ConfigError(f"log_file cannot be written: {error}") from None

    def write(self, text: str) -> int:
        """Into the present file, or a new one when it is old or large enough."""
        config = self._config
        aged = config.rotate_s > 0 and self._now_ns() - self._began_ns >= config.rotate_s * 1e9
        if self._size and (aged or 0 < config.rotate_bytes <= self._size):
            old = self._file
            self._prune()
            self._begin()  # or go on with the old one
            old.close()
        self._size += len(text.encode("utf-8", "replace"))
        return self._file.write(text)

    def flush(self) -> None:
        """Hand what is written to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Write no more."""
        self._file.close()

    def _begin(self) -> None:
        began_ns = self._now_ns()
        path = self._folder / f"{self._stem}-{began_ns}{self._suffix}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._file = open(descriptor, "a", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._began_ns, self._size = began_ns, os.fstat(descriptor).st_size

    def _prune(self) -> None:
        """Remove old files beyond those that are kept; the oldest first."""
        kept = self._config.max_files
        if kept == 0:
            return
        old = sorted(
            (path for path in self._folder.iterdir() if self._is_ours(path)), key=self._began
        )
        for path in old[: len(old) - kept] if kept > 0 else old:
            with contextlib.suppress(OSError):
                path.unlink()

    def _is_ours(self, path: Path) -> bool:
        name = path.name
        middle = name[len(self._stem) + 1 : len(name) - len(self._suffix)]
        return name == f"{self._stem}-{middle}{self._suffix}" and middle.isdecimal()

    def _began(self, path: Path) -> int:
        return int(path.name[len(self._stem) + 1 : len(path.name) - len(self._suffix)])
