"""The command line program, forked from a process that has it loaded.

The recorded scenarios call the program some nine hundred times, and most of what that costs is
Python loading modules. A call here is a process of its own as ever, with its own session, words,
environment and folder; only the modules were there before. Some scenarios start the installed
program itself.

    python -m tests.golden.forked_cli SOCKET_FD      # the process that forks
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from agent.cli import main as cli

ROOT = Path(__file__).resolve().parents[2]
REQUEST_BYTES_MAX = 1 << 17
KILLED_WITHIN_S = 30.0


class ForkedCli:
    """Asks the process that forks. One call at a time."""

    def __init__(self, asking: socket.socket, result: Any) -> None:
        self._asking = asking
        self._result = result

    def execute(
        self,
        program: str,
        argv: list[str],
        stdin: str,
        environ: dict[str, str],
        cwd: str,
        timeout: float,
        interrupt_ms: float,
    ) -> Any:
        """What the player's own ``execute`` does, with the same arguments and result."""
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
            files[0].write(stdin.encode())
            files[0].seek(0)
            began = time.monotonic()
            request = {"argv": [program, *argv], "environ": environ, "cwd": str(cwd)}
            raw = json.dumps(request).encode()
            socket.send_fds(self._asking, [raw], [file.fileno() for file in files])
            self._asking.settimeout(KILLED_WITHIN_S)
            code = self._outcome(int(self._asking.recv(100)), timeout, interrupt_ms)
            took_ms = (time.monotonic() - began) * 1000
            return self._result(code, told(files[1]), told(files[2]), took_ms)

    def _outcome(self, pid: int, timeout: float, interrupt_ms: float) -> int | str:
        if interrupt_ms:
            with contextlib.suppress(TimeoutError):
                return self._ended(interrupt_ms / 1000)
            os.kill(pid, signal.SIGINT)
        with contextlib.suppress(TimeoutError):
            return self._ended(timeout)
        os.killpg(pid, signal.SIGKILL)
        self._ended(KILLED_WITHIN_S)
        return f"still running after {timeout:.0f} s"

    def _ended(self, within_s: float) -> int:
        self._asking.settimeout(within_s)
        return int(self._asking.recv(100))


def told(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


@contextlib.contextmanager
def forking(player: ModuleType) -> Iterator[ForkedCli]:
    """A process that forks, and what takes the place of the player's ``execute``."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine, theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.golden.forked_cli", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
        )
        theirs.close()
        try:
            yield ForkedCli(mine, player.Result)
        finally:
            mine.close()
            process.wait(KILLED_WITHIN_S)


def serve(asked: socket.socket) -> bool:
    """Fork for each request until nobody asks; True in a process that was forked."""
    while True:
        raw, fds, _, _ = socket.recv_fds(asked, REQUEST_BYTES_MAX, 3)
        if not raw:
            return False
        pid = os.fork()
        if pid == 0:
            asked.close()
            os.setsid()
            become(json.loads(raw), fds)
            return True
        for fd in fds:
            os.close(fd)
        asked.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        asked.send(str(os.waitstatus_to_exitcode(status)).encode())


def become(request: dict[str, Any], fds: list[int]) -> None:
    """Take on the words, environment, folder and files of a call."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    time.tzset()
    sys.argv = request["argv"]


if __name__ == "__main__":
    for name in {module for module, _ in cli.TABLE.values() if module}:
        importlib.import_module(f"agent.cli.{name}")
    gc.freeze()
    if serve(socket.socket(fileno=int(sys.argv[1]))):
        status = cli.main()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # taking down all that was loaded would cost as much as loading it
