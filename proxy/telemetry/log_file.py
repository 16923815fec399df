"""Where lines of an access log go: standard output, standard error, a file. Never waits for them.

Lines are written together a little later, in a thread, so that a slow disk holds no request up;
more than ``LINES_MAX`` that wait are counted and left out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import deque

from proxy.waiting import set_within

log = logging.getLogger("lictor.proxy.telemetry")

LINES_MAX = 65_536
GATHER_S = 0.1
CLOSE_MAX_S = 2.0


class LogFile:
    """One log. A file is opened for each batch, so that it can be moved away at any time."""

    def __init__(self, kind: str, path: str) -> None:
        self._kind = kind
        self._path = path
        self._lines: deque[str] = deque()
        self._writing = False
        self.dropped = 0
        self.error = ""
        self._idle = asyncio.Event()
        self._idle.set()

    def write(self, line: str) -> None:
        """Take a line without its end."""
        if len(self._lines) >= LINES_MAX:
            self.dropped += 1
            return
        self._lines.append(line)
        if not self._writing:
            self._writing = True
            self._idle.clear()
            asyncio.get_running_loop().call_later(GATHER_S, self._begin)

    def _begin(self) -> None:
        lines, self._lines = self._lines, deque()
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, self._put, "\n".join(lines) + "\n").add_done_callback(self._done)

    def _put(self, text: str) -> None:
        raw = text.encode("utf-8", "replace")
        if self._kind == "file":
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            descriptor = os.open(self._path, flags, 0o640)
            try:
                _all(descriptor, raw)
            finally:
                os.close(descriptor)
        else:
            stream = sys.stderr if self._kind == "stderr" else sys.stdout
            _all(stream.fileno(), raw)

    def _done(self, future: asyncio.Future[None]) -> None:
        self._writing = False
        problem = None if future.cancelled() else future.exception()
        text = str(problem) if problem is not None else ""
        if text and text != self.error:
            log.warning("access log cannot be written path=%s error=%s", self._path, text)
        self.error = text
        if self._lines:
            self._writing = True
            asyncio.get_running_loop().call_later(GATHER_S, self._begin)
        else:
            self._idle.set()

    async def close(self) -> None:
        """Until what was taken is written; a disk that hangs holds nobody up for longer than
        ``CLOSE_MAX_S``."""
        if not await set_within(self._idle, CLOSE_MAX_S):
            log.warning("access log was not written to its end path=%s", self._path)


def _all(descriptor: int, raw: bytes) -> None:
    while raw:
        raw = raw[os.write(descriptor, raw) :]
