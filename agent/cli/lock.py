"""`lock`: run a command while a lock is held."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from types import FrameType
from typing import Literal

from agent.cli.client import Client, ClientError, read_options
from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind
from agent.cli.lock_holder import LockHolder, LockTimeoutError, Plan
from agent.cli.lock_rules import ConflictError, Mutex, Rules, Semaphore
from agent.durations import parse_s

#: Between the request to end and the end by force.
GRACE_S = 5.0
_CHILD_STATUS = 2


class _StopError(Exception):
    """A signal asks us to stop."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """The child has ended; below 0: by that signal."""

    code: int


@dataclass(frozen=True, slots=True)
class _Lost:
    """The lock is not ours any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Stopped:
    """A signal asks us to stop."""


_Events = queue.SimpleQueue[_Ended | _Lost | _Stopped]


class _Signals:
    """A request to stop interrupts what waits for the lock; afterwards it is an event.

    While a session begins only the second request does: interrupted, we would not learn its id and
    could not end it.
    """

    def __init__(self, events: _Events) -> None:
        self._events = events
        self._asked = False
        self._when: Literal["opening", "waiting", "holding"] = "opening"
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._arrived)

    def _arrived(self, _number: int, _frame: FrameType | None) -> None:
        interrupts = self._when == "waiting" or (self._when == "opening" and self._asked)
        self._asked = True
        if interrupts:
            self._when = "holding"
            raise _StopError
        self._events.put(_Stopped())

    def wait(self) -> None:
        """From now on a request interrupts; one that has come already does at once."""
        self._when = "waiting"
        if self._asked:
            self.hold()
            raise _StopError

    def hold(self) -> None:
        """From now on a request is an event."""
        self._when = "holding"


def _run(call: Call) -> int:
    flags = call.flags
    if len(call.args) < 2:
        return call.fail("Key prefix and child command must be specified")
    problem = _problem(call)
    if problem:
        return call.fail(problem)
    prefix = call.args[0].strip("/")
    limit = flags["n"]

    def rules(session: str) -> Rules:
        return Mutex(prefix, session) if limit == 1 else Semaphore(prefix, session, limit)

    command = " ".join(call.args[1:])
    plan = Plan(
        name=flags.text("name") or f"Consul lock for '{command}' at '{prefix}'",
        rules=rules,
        behavior="release" if limit == 1 else "delete",
        monitor_retries=flags["monitor-retry"],
        timeout_s=_timeout_s(call),
    )
    # Who may run must not be told by a server that lags behind.
    client = Client(replace(read_options(flags, call.environ), stale=False))
    events: _Events = queue.SimpleQueue()
    holder = LockHolder(client, plan, lambda reason: events.put(_Lost(reason)))
    return _hold(call, holder, events, _Signals(events))


def _problem(call: Call) -> str:
    flags = call.flags
    if flags["n"] < 1:
        return "Lock holder limit must be positive"
    if flags["monitor-retry"] < 0:
        return "Number of monitor retries must not be negative"
    if any(parse_s(flags.text(name) or "0s") < 0 for name in ("timeout", "try")):
        return "Timeout must not be negative"
    return "" if call.args[0].strip("/") else "Key prefix must not be empty"


def _timeout_s(call: Call) -> float | None:
    text = call.flags.text("try") or call.flags.text("timeout")
    return (parse_s(text) or None) if text else None


def _hold(call: Call, holder: LockHolder, events: _Events, signals: _Signals) -> int:
    """Take the lock, run the command, give the lock back, whatever happens in between."""
    _tell(call, f"Attempting lock acquisition at {call.args[0]}")
    try:
        holder.open()
        signals.wait()
        holder.acquire()
        signals.hold()
        holder.watch()
        status = _run_child(call, holder, events)
    except (_StopError, LockTimeoutError):
        status = call.fail("Shutdown triggered or timeout during lock acquisition")
    except (ClientError, ConflictError) as error:
        status = call.fail(f"Lock acquisition failed: {error}")
    signals.hold()  # asked again to stop, we still give the lock back
    try:
        holder.close()
    except ClientError as error:
        return call.fail(f"Lock release failed: {error}")
    _tell(call, "Cleanup succeeded")
    return status


def _tell(call: Call, text: str) -> None:
    if call.flags["verbose"]:
        call.fail(text)


def _run_child(call: Call, holder: LockHolder, events: _Events) -> int:
    """Run the command until it ends, or has to."""
    flags, command = call.flags, call.args[1:]
    _tell(call, f"Starting handler '{' '.join(command)}'")
    failed = _CHILD_STATUS if flags["child-exit-code"] else 0
    with_stdin = flags["pass-stdin"]
    try:
        child = _start(command, shell=flags["shell"], with_stdin=with_stdin)
    except OSError as error:
        call.fail(f"Error running handler: {command[0]}: {(error.strerror or '').lower()}")
        return failed
    threading.Thread(
        target=lambda: events.put(_Ended(child.wait())), name="child", daemon=True
    ).start()
    status = 0
    event = _next(events, holder)
    if isinstance(event, _Lost):
        status = call.fail(f"Lock lost, killing child: {event.reason}")
    elif isinstance(event, _Stopped):
        _tell(call, "Shutdown triggered, killing child")
    code = event.code if isinstance(event, _Ended) else _end(child, events, group=not with_stdin)
    if code:
        call.fail(f"Error running handler: {_ended(code)}")
    return status or (failed if code else 0)


def _next(events: _Events, holder: LockHolder) -> _Ended | _Lost | _Stopped:
    """What happens first; a session that may have ended is an event too."""
    while True:
        left_s = holder.expires_in_s
        if left_s <= 0:
            return _Lost("the session was not renewed in time")
        try:
            return events.get(timeout=left_s)
        except queue.Empty:
            continue


def _start(command: tuple[str, ...], *, shell: bool, with_stdin: bool) -> subprocess.Popen[bytes]:
    """Start the command, by a shell or directly. Raises OSError.

    In a group of its own, so that all of it can be ended; not when it reads our terminal, which
    only the group in front may do.
    """
    words = ["/bin/sh", "-c", " ".join(command)] if shell else list(command)
    return subprocess.Popen(  # noqa: S603  to run what the user says is what this is for
        words,
        stdin=None if with_stdin else subprocess.DEVNULL,
        env={**os.environ, "CONSUL_LOCK_HELD": "true"},
        process_group=None if with_stdin else 0,
    )


def _end(child: subprocess.Popen[bytes], events: _Events, *, group: bool) -> int:
    """Ask the child to end, and make it end when it does not; gives how it ended."""
    for number, wait_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            if group:
                os.killpg(child.pid, number)
            else:
                child.send_signal(number)
        deadline = None if wait_s is None else time.monotonic() + wait_s
        with contextlib.suppress(queue.Empty):
            while True:
                left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
                event = events.get(timeout=left_s)
                if isinstance(event, _Ended):
                    return event.code
    raise AssertionError("what is killed ends")


def _ended(code: int) -> str:
    """How a process ended, in Go's words."""
    if code > 0:
        return f"exit status {code}"
    words = signal.strsignal(-code) or f"signal {-code}"
    return f"signal: {words.lower()}"


COMMANDS = {
    ("lock",): Command(
        usage="lock [options] PREFIX COMMAND...",
        help="Runs a command while a lock at PREFIX/.lock is held, or one of -n places. The lock is"
        "\ngiven back when the command ends; when the lock is lost, the command is ended.",
        run=_run,
        server=True,
        namespace=True,
        flags=(
            Flag("child-exit-code", "Exit with 2 when the command fails.", Kind.BOOL),
            Flag("monitor-retry", "Attempts to read the lock again after an error.", Kind.INT, 3),
            Flag("n", "How many may hold it at a time; more than 1 is a semaphore.", Kind.INT, 1),
            Flag("name", "Name of the session."),
            Flag("pass-stdin", "Let the command read standard input.", Kind.BOOL),
            Flag("shell", "Run the command by a shell.", Kind.BOOL, True),
            Flag("timeout", "Give up after this time without the lock.", Kind.DURATION),
            Flag("try", "As -timeout.", Kind.DURATION),
            Flag("verbose", "Tell what is done.", Kind.BOOL),
        ),
    ),
}
