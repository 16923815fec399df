"""One proxy as several processes that share its ports (SO_REUSEPORT): starts them, and again.

The parent carries no traffic. Each worker is a whole proxy that follows the agent by itself; the
kernel gives each new connection to one of them. A worker that dies is started again after a pause
that grows; the others go on. A worker whose sockets were taken over by a successor is not: all of
them end then, one after another.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proxy.backoff import Backoff

log = logging.getLogger("lictor.proxy.workers")

WORKERS_MAX = 64
_WATCHED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
#: How a worker ends whose sockets a successor has.
HANDED_OVER = 3
_LOOK_S = 1.0
#: A worker that lived so long was well: the next pause is the first again.
_WELL_S = 60.0
#: Workers that no successor takes over after the first of them was (there are fewer now).
_REST_S = 120.0


@dataclass(frozen=True, slots=True)
class Place:
    """Which of the workers one is; ``folder`` has a socket of each for questions, ``admin`` is a
    descriptor that holds the port for metrics, -1 for none."""

    index: int
    folder: str
    admin: int = -1


@dataclass(slots=True)
class _Worker:
    backoff: Backoff
    pid: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    #: How it ended last: its exit code, or minus a signal.
    code: int | None = None


@dataclass(slots=True)
class _Crew:
    run: Callable[[Place], int]
    folder: str
    admin: int
    workers: list[_Worker]
    stopping: bool = False
    #: When a first one was taken over; the rest ends some time after.
    handed_at: float | None = None

    def start(self, now: float) -> None:
        """Start whoever is missing and whose pause is over."""
        for index, worker in enumerate(self.workers):
            if worker.pid or self.stopping or self.handed_at is not None or now < worker.start_at:
                continue
            worker.started_at = now
            worker.pid = self._fork(index)

    def _fork(self, index: int) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
            code = self.run(Place(index, self.folder, self.admin))
        except BaseException:
            log.exception("worker failed index=%d", index)
        finally:
            sys.stdout.flush()
            logging.shutdown()
            os._exit(code)

    def reap(self, now: float) -> None:
        """See who has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for index, worker in enumerate(self.workers):
                if worker.pid == pid:
                    self._ended(index, worker, os.waitstatus_to_exitcode(status), now)

    def _ended(self, index: int, worker: _Worker, code: int, now: float) -> None:
        worker.pid, worker.code = 0, code
        if self.stopping:
            return
        if code == HANDED_OVER:
            if self.handed_at is None:
                self.handed_at = now
            return
        if now - worker.started_at > _WELL_S:
            worker.backoff.succeeded()
        pause_s = worker.backoff.failed_s()
        worker.start_at = now + pause_s
        log.warning("worker ended index=%d code=%d again_in_s=%.2f", index, code, pause_s)

    def tell(self, number: int) -> None:
        """Pass a signal on."""
        for worker in self.workers:
            if worker.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, number)

    @property
    def alive(self) -> int:
        """How many there are."""
        return sum(worker.pid != 0 for worker in self.workers)

    def over(self) -> int | None:
        """The exit code once all have ended for good; None before."""
        if self.alive:
            return None
        if self.stopping or self.handed_at is not None:
            return 0
        # All said that they cannot start: whoever started us is told.
        return 1 if all(worker.code == 1 for worker in self.workers) else None


def supervise(
    count: int,
    run: Callable[[Place], int],
    *,
    admin: tuple[str, int] | None,
    parent_pid: int = 0,
    outlives_s: float = 0.0,
) -> int:
    """Keep so many workers until told to stop; the exit code. ``run`` is one worker's life."""
    held = _held_port(*admin) if admin is not None else None
    folder = tempfile.mkdtemp(prefix="lictor-workers-")
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    workers = [_Worker(Backoff(0.1, 10.0, rng=random.Random(), jitter=0.5)) for _ in range(count)]
    crew = _Crew(run, folder, held.fileno() if held else -1, workers)
    gone_at: float | None = None
    try:
        while True:
            now = time.monotonic()
            crew.reap(now)
            code = crew.over()
            if code is not None:
                return code
            crew.start(now)
            if crew.handed_at is not None and now - crew.handed_at > _REST_S:
                crew.stopping = True
                crew.tell(signal.SIGTERM)
            told = signal.sigtimedwait(_WATCHED, _LOOK_S)
            if told is not None and told.si_signo != signal.SIGCHLD:
                crew.stopping = True
                crew.tell(told.si_signo)
            if parent_pid and os.getppid() != parent_pid:
                gone_at = gone_at or now
                if now - gone_at >= outlives_s:
                    log.warning("the agent is gone, stopping parent_pid=%d", parent_pid)
                    return 0  # workers see us go, and drain
    finally:
        if held is not None:
            held.close()
        if not crew.alive:
            shutil.rmtree(folder, ignore_errors=True)


def _held_port(host: str, port: int) -> socket.socket | None:
    """A port that all workers can share, kept while we live; another one where it is taken."""
    for wanted in (port, 0):
        held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            held.bind((host, wanted))
        except OSError as error:
            held.close()
            log.info("admin port is taken, using another port=%d error=%s", wanted, error)
        else:
            return held
    return None


def socket_of(folder: str, index: int) -> Path:
    """Where a worker answers the others."""
    return Path(folder) / str(index)
