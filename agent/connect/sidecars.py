"""Supervises one proxy process per local sidecar registration (mesh contract D.1).

A proxy never runs inside the agent, so that its crash or its load cannot stop gossip or Raft. Each
child is told its parent's process id and ends with it, or some time after it where it is to outlive
the agent; stopping is SIGTERM, a drain, then SIGKILL. When to start again is decided by `restarts`.

A child that is to be replaced (another token, another version of the program) is not stopped: its
successor takes its listening sockets (`proxy.handover`), and then it drains and ends by itself. So
do a former agent's children when those of its next start are there.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import random
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.connect.child import ORDER_VARIABLE, PARENT_PID_VARIABLE, TOKEN_VARIABLE
from agent.connect.restarts import FIRST_S, MAX_S, Restarts
from agent.tasks import TaskOwner

log = logging.getLogger("lictor.agent.connect.sidecars")

#: Longer lines of a child are cut in our log; its last lines are kept for `explain`.
LINE_MAX_BYTES = 4096
LINES_KEPT = 20
#: Lines a second and child that reach our log; the rest is counted.
LINES_PER_S_MAX = 200
#: Grace, drain and a little: a proxy that drains properly is never killed.
STOP_TIMEOUT_S = 37.0
CHILDREN_MAX = 256
#: Without a drain a child closes its sockets and is gone.
QUICK_STOP_TIMEOUT_S = 3.0
#: A unix socket's path has 107 bytes, and a new one begins beside the old one's (".PID").
HANDOVER_PATH_MAX_BYTES = 96
_DRAIN_CHECK_S = 0.1
#: Processes of one sidecar that wait for their successors, or drain, at once.
REPLACED_MAX = 8


@dataclass(frozen=True, slots=True)
class SidecarSpec:
    """A sidecar to run: the id of its connect-proxy service, and the token it uses."""

    proxy_id: str
    token: str = field(default="", repr=False)


@dataclass(slots=True)
class SidecarStats:
    """Counters since start, and how many children run now."""

    running: int = 0
    started: int = 0
    restarts: int = 0
    killed: int = 0
    lines_dropped: int = 0


class _Child:
    """One wanted sidecar: its process while there is one, and what it said last."""

    __slots__ = (
        "exit_code", "let_go", "lines", "process", "program", "replaced", "restarts", "spec",
        "stopping", "task",
    )  # fmt: skip

    def __init__(self, spec: SidecarSpec, restarts: Restarts) -> None:
        self.spec = spec
        self.restarts = restarts
        self.process: asyncio.subprocess.Process | None = None
        self.task: asyncio.Task[None] | None = None
        self.stopping = asyncio.Event()
        self.exit_code: int | None = None
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        #: A successor takes its sockets: it ends by itself and is not started again.
        self.replaced = False
        #: The agent ends and it does not.
        self.let_go = False
        #: The program as it was when the child was started.
        self.program: object = None


class Sidecars:
    """Keeps the wanted children running."""

    def __init__(
        self,
        *,
        http_addr: str,
        bind_address: str = "",
        tunnel: str = "auto",
        workers: int = 1,
        handover_dir: Path | None = None,
        outlives_s: float = 0.0,
        variables: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
        program: Callable[[], object] = lambda: None,
        command: Callable[[SidecarSpec], Sequence[str]] | None = None,
        rng: random.Random | None = None,
        stop_timeout_s: float = STOP_TIMEOUT_S,
        backoff_s: tuple[float, float] = (FIRST_S, MAX_S),
        on_change: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``command`` gives the command line of a child; by default this program's own proxy,
        which listens on ``bind_address`` unless its registration says otherwise ("": everywhere).
        Children give their sockets to their successors in ``handover_dir``, and go on for
        ``outlives_s`` without us; ``variables`` are of their environment, ``flags`` more of their
        own command line. ``program``, called on a thread, tells one state of the program on disk
        from another. ``on_change`` hears the proxy id each time a child starts or ends.
        """
        self._http_addr = http_addr
        self._bind_address = bind_address
        self._tunnel = tunnel
        self._workers = workers
        self._handover_dir = handover_dir
        self._outlives_s = outlives_s
        self._flags = tuple(flags)
        self._variables = dict(variables or {})
        self._program = program
        self._command = command or self._own_command
        self._rng = rng or random.Random()
        self._stop_timeout_s = stop_timeout_s
        self._backoff_s = backoff_s
        self._on_change = on_change
        self._children: dict[str, _Child] = {}
        #: Children that were dropped or replaced and are still there.
        self._leaving: set[_Child] = set()
        self._owner = TaskOwner()
        self._stats = SidecarStats()
        self._stopped = False
        self._drain = True

    def _own_command(self, spec: SidecarSpec) -> Sequence[str]:
        command = [sys.executable, "-m", "agent", "connect", "proxy", "-proxy-id", spec.proxy_id]
        command += ["-http-addr", self._http_addr]
        if self._bind_address:
            command += ["-bind-address", self._bind_address]
        if self._tunnel != "auto":
            command += ["-tunnel", self._tunnel]
        if self._workers > 1:
            command += ["-workers", str(self._workers)]
        command += self._flags
        path = self._handover_path(spec.proxy_id)
        if path:
            command += ["-handover", path]
        if path and self._outlives_s:
            command += ["-outlives-agent", f"{self._outlives_s:g}s"]
        return command

    def _handover_path(self, proxy_id: str) -> str:
        """Where a child gives its sockets to the next one; "" where the name would be too long."""
        if self._handover_dir is None:
            return ""
        name = hashlib.sha256(proxy_id.encode()).hexdigest()[:16]
        path = str(self._handover_dir / name)
        return path if len(path.encode()) <= HANDOVER_PATH_MAX_BYTES else ""

    async def follow(
        self,
        watch_once: Callable[[Callable[[], None]], Callable[[], None]],
        wanted: Callable[[], Iterable[SidecarSpec | str]],
    ) -> None:
        """Keep one child per sidecar registration of this host, for ever."""
        while True:
            changed = asyncio.Event()
            cancel = watch_once(changed.set)
            try:
                self.reconcile(wanted())
                await changed.wait()
            finally:
                cancel()

    def reconcile(self, wanted: Iterable[SidecarSpec | str]) -> None:
        """Start what is wanted and missing, stop what is not; an id alone has no token."""
        if self._stopped:
            return
        specs = [SidecarSpec(each) if isinstance(each, str) else each for each in wanted]
        by_id = {spec.proxy_id: spec for spec in specs}
        for proxy_id, child in list(self._children.items()):
            if by_id.get(proxy_id) != child.spec:
                self._drop(child, wanted=proxy_id in by_id)
        for child in self._leaving:
            if child.spec.proxy_id not in by_id:
                child.stopping.set()
        for proxy_id, spec in by_id.items():
            if proxy_id in self._children:
                continue
            if len(self._children) >= CHILDREN_MAX:
                log.error(
                    "too many sidecars, not started proxy_id=%s max=%d", proxy_id, CHILDREN_MAX
                )
                continue
            self._begin(spec)

    async def upgrade(self) -> int:
        """Replace the children that run another state of the program than the one on disk; how
        many."""
        program = await asyncio.to_thread(self._program)
        # Those that wait for their start get this one anyway.
        running = [child for child in self._children.values() if child.process is not None]
        old = [child for child in running if child.program != program]
        for child in old:
            self._drop(child, wanted=True)
            self._begin(child.spec)
        return len(old)

    def _drop(self, child: _Child, *, wanted: bool) -> None:
        """Another child takes its place, or none (``wanted``)."""
        proxy_id = child.spec.proxy_id
        del self._children[proxy_id]
        waiting = sum(each.spec.proxy_id == proxy_id for each in self._leaving)
        crowded = waiting >= REPLACED_MAX  # each of them asks the one before it
        if wanted and self._handover_path(proxy_id) and child.process and not crowded:
            child.replaced = True
        else:
            child.stopping.set()
        self._leaving.add(child)

    def _begin(self, spec: SidecarSpec) -> None:
        """Start a child; where nothing is handed over, once those before it have left its port."""
        first_s, max_s = self._backoff_s
        child = _Child(spec, Restarts(rng=self._rng, first_s=first_s, max_s=max_s))
        self._children[spec.proxy_id] = child
        before = [
            each.task
            for each in self._leaving
            if each.spec.proxy_id == spec.proxy_id and not each.replaced and each.task is not None
        ]
        child.task = self._owner.spawn(
            self._supervise(child, before), name=f"sidecar {spec.proxy_id}"
        )

    async def stop(self, *, drain: bool = False) -> None:
        """Stop all children and wait until they have ended; or let them go, where they are to
        outlive us: else none outlives this call.

        The agent's own end does not wait for a drain (up to 35 s) unless it is asked to.
        """
        self._stopped = True
        self._drain = drain
        everyone = [*self._children.values(), *self._leaving]
        for child in everyone:
            child.let_go = self._outlives_s > 0 and bool(self._handover_path(child.spec.proxy_id))
            child.stopping.set()
        tasks = [child.task for child in everyone if child.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        await self._owner.close()
        self._children.clear()

    def stats(self) -> SidecarStats:
        """The counters as they stand."""
        self._stats.running = sum(
            child.process is not None for child in (*self._children.values(), *self._leaving)
        )
        return self._stats

    def explain(self) -> dict[str, Any]:
        """Each child's process id, restarts, last exit code and last words."""
        return {
            proxy_id: {
                "pid": child.process.pid if child.process else None,
                "restarts": child.restarts.count,
                "exit_code": child.exit_code,
                "last_lines": list(child.lines),
            }
            for proxy_id, child in self._children.items()
        }

    # One child.

    async def _supervise(self, child: _Child, before: Sequence[asyncio.Task[None]]) -> None:
        proxy_id = child.spec.proxy_id
        try:
            if before:
                await asyncio.wait(before)
            while not child.stopping.is_set():
                await self._run_once(child)
                if child.stopping.is_set() or child.replaced:
                    return
                delay_s = child.restarts.ended_s(now=time.monotonic())
                self._stats.restarts += 1
                log.warning(
                    "sidecar ended proxy_id=%s exit_code=%s restart_s=%.1f",
                    proxy_id, child.exit_code, delay_s,
                )  # fmt: skip
                await _wait(child.stopping, delay_s)
        finally:
            self._leaving.discard(child)

    async def _run_once(self, child: _Child) -> None:
        """Run the child until it ends, or until it is told to stop and has ended."""
        child.restarts.started(now=time.monotonic())
        child.program = await asyncio.to_thread(self._program)
        try:
            child.process = process = await asyncio.create_subprocess_exec(
                *self._command(child.spec),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=_environment(child.spec, self._variables),
                limit=LINE_MAX_BYTES * 4,
                # Ctrl-C on the agent's terminal is for the agent, which then stops its children.
                start_new_session=True,
            )
        except OSError as error:
            child.exit_code = None
            child.lines.append(str(error))
            log.warning("sidecar not started proxy_id=%s error=%s", child.spec.proxy_id, error)
            return
        self._stats.started += 1
        self._on_change(child.spec.proxy_id)
        log.info("sidecar started proxy_id=%s pid=%d", child.spec.proxy_id, process.pid)
        reading = self._owner.spawn(self._read_lines(child, process), name="sidecar output")
        ended = self._owner.spawn(process.wait(), name="sidecar wait")
        stopping = self._owner.spawn(child.stopping.wait(), name="sidecar stop")
        try:
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done() and not child.let_go:
                await self._terminate(child, process, ended)
        finally:
            stopping.cancel()
            if child.let_go:
                log.info("sidecar goes on proxy_id=%s pid=%d", child.spec.proxy_id, process.pid)
            elif process.returncode is None:  # cancelled: leave no orphan
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            child.exit_code = process.returncode
            child.process = None
            self._on_change(child.spec.proxy_id)
        if not child.let_go:
            await asyncio.wait({reading}, timeout=1.0)
        else:
            ended.cancel()
        reading.cancel()

    async def _terminate(
        self, child: _Child, process: asyncio.subprocess.Process, ended: asyncio.Task[int]
    ) -> None:
        log.info("sidecar stopping proxy_id=%s pid=%d", child.spec.proxy_id, process.pid)
        with contextlib.suppress(ProcessLookupError):  # it may end by itself just now
            process.terminate()
        if self._drain:
            patience = time.monotonic() + self._stop_timeout_s
            while self._drain and not ended.done() and time.monotonic() < patience:
                await asyncio.wait({ended}, timeout=min(self._stop_timeout_s, _DRAIN_CHECK_S))
        if not self._drain and not ended.done():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)  # no drain: at once, but in order
            await asyncio.wait({ended}, timeout=min(self._stop_timeout_s, QUICK_STOP_TIMEOUT_S))
        if not ended.done():
            self._stats.killed += 1
            log.warning("sidecar killed proxy_id=%s pid=%d", child.spec.proxy_id, process.pid)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.wait({ended})

    async def _read_lines(self, child: _Child, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        window, count = 0.0, 0
        while True:
            try:
                raw = await process.stdout.readline()
            except ValueError:  # longer than the reader's limit: that part is dropped
                self._stats.lines_dropped += 1
                continue
            if not raw:
                return
            line = raw[:LINE_MAX_BYTES].decode(errors="replace").rstrip()
            child.lines.append(line)
            now = time.monotonic()
            if now - window >= 1.0:
                window, count = now, 0
            count += 1
            if count > LINES_PER_S_MAX:
                self._stats.lines_dropped += 1
                continue
            log.info("sidecar says proxy_id=%s line=%r", child.spec.proxy_id, line)


def _environment(spec: SidecarSpec, more: Mapping[str, str]) -> dict[str, str]:
    environment = os.environ | more
    environment[PARENT_PID_VARIABLE] = str(os.getpid())
    environment[ORDER_VARIABLE] = str(time.monotonic_ns())
    if spec.token:
        environment[TOKEN_VARIABLE] = spec.token
    return environment


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
