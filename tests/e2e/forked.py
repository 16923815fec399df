"""Agents forked from a process that has the program loaded.

Whole-agent tests start some two hundred agents, and most of what a start costs is Python loading
modules: on two cores that is what everybody else waits for. An agent here is a process of its own
as ever, with its own session, words, environment and files; only the modules were there before.
Tests of the start, of memory and of the installed program itself start that (``WHOLE_PROGRAM`` in
their module), as benchmarks do.

    python -m tests.e2e.forked SOCKET_FD      # the process that forks
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUEST_BYTES_MAX = 1 << 17
#: What a server has loaded once it is ready; the rest is loaded by whoever wants it.
MODULES = ("agent.cli.agent", "agent.config.load", "agent.process", "agent.parts.server")
ENDS_WITHIN_S = 30.0
_one_at_a_time = threading.Lock()  # who asks next would read the answer to another


class Forked:
    """A running agent, with that part of ``subprocess.Popen`` that tests use."""

    def __init__(self, pid: int, ended: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        if self.returncode is None:
            self._look(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once there is one. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._look(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a forked agent", timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, to nobody when it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> None:
        if not select.select([self._ended], [], [], timeout)[0]:
            return
        told = self._ended.recv(100)
        assert told, "the process that forks is gone"
        self.returncode = int(told)
        self._ended.close()


@functools.cache
def _nursery() -> socket.socket:
    """Where to ask; the process begins with the first agent of this test process."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.forked", str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        cwd=ROOT,
    )
    theirs.close()

    def end() -> None:
        mine.close()
        process.wait(ENDS_WITHIN_S)

    atexit.register(end)
    return mine


def start(argv: Sequence[str], environ: dict[str, str], log: int) -> Forked:
    """Start an agent that writes to the file descriptor ``log``."""
    request = {"argv": list(argv), "environ": environ, "cwd": str(Path.cwd())}
    with _one_at_a_time:
        asking = _nursery()
        ended, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(asking, [json.dumps(request).encode()], [log, theirs.fileno()])
        return Forked(int(asking.recv(100)), ended)


class Nursery:
    """The process that forks: one request after the other, and it says how each child ended."""

    def __init__(self, asked: socket.socket) -> None:
        self._asked = asked
        self._told: dict[int, socket.socket] = {}
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)

    def serve(self) -> bool:
        """Fork for each request until nobody asks; True in a process that was forked."""
        while True:
            ready = select.select([self._asked, self._woken], [], [])[0]
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._reap()
            if self._asked not in ready:
                continue
            raw, fds, _, _ = socket.recv_fds(self._asked, REQUEST_BYTES_MAX, 2)
            if not raw:
                return False
            log, told = fds
            pid = os.fork()
            if pid == 0:
                os.close(told)
                self._forget()
                become(json.loads(raw), log)
                return True
            os.close(log)
            self._told[pid] = socket.socket(fileno=told)
            with contextlib.suppress(OSError):
                self._asked.send(str(pid).encode())

    def _reap(self) -> None:
        while self._told:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            # Whoever asked may have given up; the others still want their agents.
            with self._told.pop(pid) as told, contextlib.suppress(OSError):
                told.send(str(os.waitstatus_to_exitcode(status)).encode())

    def _forget(self) -> None:
        """What is the forking process's own is nothing to its child."""
        os.close(signal.set_wakeup_fd(-1))
        os.close(self._woken)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._asked.close()
        for told in self._told.values():
            told.close()


def become(request: dict[str, object], log: int) -> None:
    """Take on the words, environment, folder and files of an agent."""
    os.setsid()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(str(request["cwd"]))
    os.environ.clear()
    os.environ.update(request["environ"])  # type: ignore[call-overload]
    time.tzset()
    sys.argv = list(request["argv"])  # type: ignore[call-overload]
    # An agent that restarts in its place executes these, as the installed program then.
    sys.orig_argv = [sys.executable, *sys.argv]


if __name__ == "__main__":
    from agent.cli import main as cli

    for name in MODULES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    if Nursery(socket.socket(fileno=int(sys.argv[1]))).serve():
        sys.exit(cli.main())
