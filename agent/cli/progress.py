"""Tells a person at a terminal how far long work has come: a line now and then, on standard error.

Where standard error is no terminal nothing is said: scripts compare it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import IO, Any, TextIO

#: Seconds between two lines; work that takes less says nothing.
INTERVAL_S = 2.0
_UNITS = ("B", "KB", "MB", "GB", "TB")


class Progress:
    """A file that counts what goes through it; give it on instead of the file itself."""

    def __init__(
        self,
        file: IO[bytes],
        err: TextIO,
        what: str,
        *,
        total: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """``what`` is done, such as "received"; ``total`` bytes are expected, 0 is not known."""
        self._file = file
        self._err = err if err.isatty() else None
        self._what = what
        self._total = total
        self._now = now
        self._began = self._told = now()
        self._done = 0

    def read(self, size: int = -1, /) -> bytes:
        """As the file's."""
        data = self._file.read(size)
        self._moved(len(data))
        return data

    def write(self, data: Any, /) -> int:
        """As the file's."""
        self._moved(len(data))
        return self._file.write(data)

    def _moved(self, size: int) -> None:
        self._done += size
        if self._err is None or self._now() - self._told < INTERVAL_S:
            return
        self._told = self._now()
        of = f" of {shown(self._total)}" if self._total else ""
        seconds = self._told - self._began
        print(f"{shown(self._done)}{of} {self._what}, {seconds:.0f} s", file=self._err)


def shown(size: int) -> str:
    """Bytes as people read them."""
    value, at = float(size), 0
    while value >= 1024 and at < len(_UNITS) - 1:
        value, at = value / 1024, at + 1
    return f"{value:.0f}{_UNITS[at]}" if at == 0 else f"{value:.1f}{_UNITS[at]}"
