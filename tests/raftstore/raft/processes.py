"""Servers as real processes that can be killed, and what each has said (see node_process.py)."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.ports import free_ports
from tests.raftstore.raft.cluster import until

ROOT = Path(__file__).resolve().parents[3]


class Process:
    """A server process and what it has said."""

    def __init__(
        self, data: Path, name: str, ports: dict[str, int], *, snapshots: bool = False
    ) -> None:
        self.data, self.name, self.ports = data, name, ports
        self.options = ["snapshots"] if snapshots else []
        self.trimmed_to = self.installed = 0
        self.acked: dict[str, int] = {}
        self.refused: set[str] = set()
        self.role, self.applied = "", -1
        self.dump: list[str] | None = None
        self.up = False

    async def start(self, *, die: str = "") -> None:
        """``die``: the phase of a snapshot at which it kills itself (dying.py)."""
        self.up, self.dump = False, None
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.raftstore.raft.node_process",
            str(self.data / self.name),
            self.name,
            str(self.ports[self.name]),
            *(f"{name}={port}" for name, port in self.ports.items()),
            *([f"die={die}"] if die else []),
            *self.options,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        self.listener = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while words := (await self.process.stdout.readline()).decode().split():
            match words:
                case ["up"]:
                    self.up = True
                case ["ok", payload, index]:
                    self.acked[payload] = int(index)
                case ["no", payload]:
                    self.refused.add(payload)
                case ["state", role, applied, installed]:
                    self.role, self.applied = role, int(applied)
                    self.installed = int(installed)
                case ["taken", first]:
                    self.trimmed_to = int(first)
                case ["dump", *payloads]:
                    self.dump = payloads

    def say(self, line: str) -> None:
        with contextlib.suppress(ConnectionError):
            self.process.stdin.write(line.encode() + b"\n")

    async def died(self) -> None:
        """Wait until it has killed itself."""
        async with asyncio.timeout(60):
            assert await self.process.wait() == -signal.SIGKILL
        await self.kill()

    async def kill(self) -> None:
        self.up, self.role = False, ""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self.listener
        self.process.stdin.close()


async def find_leader(processes: list[Process]) -> Process:
    def ask() -> bool:
        for process in processes:
            if process.up:
                process.say("s")
        return any(process.role == "leader" for process in processes if process.up)

    await until(ask, 60.0)
    return next(process for process in processes if process.role == "leader" and process.up)


async def write_until_acked(processes: list[Process], payload: str) -> None:
    """Try everybody until somebody acknowledges this payload."""
    attempt = 0
    async with asyncio.timeout(60):
        while True:
            attempt += 1
            tries = {process: f"{payload}.{attempt}" for process in processes if process.up}
            for process, name in tries.items():
                process.say(f"w {name}")
            await until(
                lambda tries=tries: all(n in p.acked or n in p.refused for p, n in tries.items()),
                60.0,
            )
            if any(name in process.acked for process, name in tries.items()):
                return


@contextlib.asynccontextmanager
async def three_processes(data: Path, *, snapshots: bool = False) -> AsyncIterator[list[Process]]:
    """A cluster of three that is up; whatever still runs at the end is killed."""
    names = ["s1", "s2", "s3"]
    ports = dict(zip(names, free_ports(3), strict=True))
    processes = [Process(data, name, ports, snapshots=snapshots) for name in names]
    try:
        for process in processes:
            await process.start()
        await until(lambda: all(process.up for process in processes), 60.0)
        yield processes
    finally:
        for process in processes:
            await process.kill()


async def all_applied_what_was_acknowledged(processes: list[Process]) -> None:
    """All hold the same sequence, each payload once, and nothing acknowledged is missing."""
    acked = set().union(*(process.acked for process in processes))

    async with asyncio.timeout(60):
        while True:
            # One question at a time: a long list takes a while, and questions would pile up.
            for process in processes:
                process.dump = None
                process.say("d")
            await until(lambda: all(process.dump is not None for process in processes), 60.0)
            if processes[0].dump == processes[1].dump == processes[2].dump:
                break
    applied = processes[0].dump
    assert acked <= set(applied)
    assert len(set(applied)) == len(applied)
