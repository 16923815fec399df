"""Committed writes and confirmed reads of the store alone: three server processes with fsync.

The load runs in the leader's process and goes in by the store's own door, with no HTTP and no
forwarding: what is left is encoding, replication, the journal and the state machine of all three.
``python -m tests.bench.raft_bench DATA_DIR NODE_ID PORT TLS_DIR ID=PORT...`` is one server; it
obeys lines on its standard input ("write OUTSTANDING SECONDS BYTES", "read OUTSTANDING SECONDS",
"role", "cpu").
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import uvloop

from agent.loop.collector import Collector
from raftstore import wire
from raftstore.commands import Outcome, kv_set, request_id
from raftstore.errors import StoreError
from raftstore.raft import FIRST_BYTE
from raftstore.store import Store, StoreConfig
from tests.bench.load import Rate, summarize
from tests.waiting import eventually

IDS = ("a", "b", "c")
RETRY_S = 0.01
"""After a refusal: a cluster between two leaders is not asked faster than that."""


class _Door(asyncio.Protocol):
    """Reads the first byte of a peer's connection and hands it over."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert data[:1] == FIRST_BYTE
        protocol = self._store.accept()
        self._transport.set_protocol(protocol)  # type: ignore[attr-defined]
        protocol.connection_made(self._transport)
        if data[1:]:
            protocol.data_received(data[1:])


class _Load:
    """Keeps a number of operations under way for so many seconds."""

    def __init__(self, seconds: float, begin: Callable[[Callable[[object], None]], None]) -> None:
        self._begin = begin
        self._until = time.perf_counter() + seconds
        self._left = 0
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self.latencies: list[float] = []
        self.errors = 0

    def one(self) -> None:
        began = time.perf_counter()

        def done(result: object) -> None:
            now = time.perf_counter()
            if isinstance(result, Exception):
                self.errors += 1
            else:
                self.latencies.append(now - began)
            if now < self._until:
                if not isinstance(result, Exception):
                    self.one()
                    return
                # Refusals come while we ask (who leads no more refuses at once), so asking again
                # from here would go deeper each time, until the interpreter refuses that: then this
                # one was lost, and whoever waited for all of them waited for ever.
                self._loop.call_later(RETRY_S, self.one)
            else:
                self._left -= 1
                if not self._left:
                    self._ended.set_result(None)

        self._begin(done)

    async def run(self, outstanding: int) -> Rate:
        began = time.perf_counter()
        self._left = outstanding
        for _ in range(outstanding):
            self.one()
        await self._ended
        return summarize(self.latencies, time.perf_counter() - began, self.errors)


async def writes(store: Store, outstanding: int, seconds: float, size: int) -> Rate:
    """Distinct keys with distinct values, each with a request's identity, as agents send them."""
    numbers = iter(range(1, 1 << 40))

    def begin(done: Callable[[Outcome | StoreError], None]) -> None:
        number = next(numbers)
        value = number.to_bytes(8, "big") * size
        command = kv_set(f"bench/{number % 100_000}", value, 0, None)
        request = request_id(sender, number, max(1, number - outstanding))
        payload = wire.encode_command(command, request_id=request)
        means = wire.meaning_of(command, request, None)
        store.propose_soon(payload, timeout_s=10.0, done=done, means=means)

    sender = f"load-{time.time()}"
    return await _Load(seconds, begin).run(outstanding)


async def reads(store: Store, outstanding: int, seconds: float) -> Rate:
    """Each read confirms the leadership with a quorum; reads of one step share a round."""

    def begin(done: Callable[[object], None]) -> None:
        store.read_index_soon(timeout_s=10.0, done=done)

    return await _Load(seconds, begin).run(outstanding)


async def serve(data_dir: str, node_id: str, port: str, tls_dir: str, *others: str) -> None:
    """One server until its standard input ends; with certificates if there is a folder of them."""
    from tests.bench import tls_bench

    tls = tls_bench.load(Path(tls_dir), node_id) if tls_dir else None
    store = Store(StoreConfig(node_id=node_id, data_dir=data_dir), tls=tls)
    loop = asyncio.get_running_loop()
    await store.start()
    context = None if tls is None else tls.server_context()
    # As in an agent: with CPython's own thresholds full passes over all rows stop every server for
    # up to 100 ms, which is what the slowest writes then wait for.
    Collector().start(loop)
    await loop.create_server(lambda: _Door(store), "127.0.0.1", int(port), ssl=context)
    members = dict(other.split("=") for other in others)
    for other, other_port in members.items():
        store.set_address(other, "127.0.0.1", int(other_port))
    store.bootstrap({other: f"127.0.0.1:{p}" for other, p in members.items()})
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("up", flush=True)
    while words := (await reader.readline()).decode().split():
        if words[0] == "role":
            print("leader" if store.is_leader else "other", flush=True)
            continue
        if words[0] == "cpu":
            print(time.process_time(), flush=True)
            continue
        if words[0] == "write":
            rate = await writes(store, int(words[1]), float(words[2]), int(words[3]) // 8)
        else:
            rate = await reads(store, int(words[1]), float(words[2]))
        print(json.dumps(asdict(rate)), flush=True)
    await store.stop()


class Servers:
    """Three such processes."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def ask(self, process: subprocess.Popen[str], line: str) -> str:
        """One line of answer."""
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    def leader(self) -> subprocess.Popen[str]:
        """The one that leads, as soon as one does."""
        return eventually(
            lambda: next((p for p in self._processes if self.ask(p, "role") == "leader"), None),
            within_s=20,
            what="one of three leads",
        )

    def measure(self, line: str) -> Rate:
        """Have the leader run a load."""
        leader = self.leader()
        before = self._cpu_s()
        rate = Rate(**json.loads(self.ask(leader, line)))
        count = max(1, rate.count)
        used = [(b - a) / count * 1e6 for a, b in zip(before, self._cpu_s(), strict=True)]
        at = self._processes.index(leader)
        others = used[:at] + used[at + 1 :]
        return replace(rate, cpu_us=(used[at], *others))

    def _cpu_s(self) -> list[float]:
        """Processor time of each process so far; on a shared machine the figure that holds."""
        return [float(self.ask(process, "cpu")) for process in self._processes]


@contextlib.contextmanager
def three(ports: tuple[int, int, int], tls: Path | None = None) -> Iterator[Servers]:
    """Three servers with journals on disk, killed at the end; ``tls``: their certificates."""
    members = [f"{node_id}={port}" for node_id, port in zip(IDS, ports, strict=True)]
    processes: list[subprocess.Popen[str]] = []
    with tempfile.TemporaryDirectory(dir=".") as folder:
        try:
            for node_id, port in zip(IDS, ports, strict=True):
                command = [sys.executable, "-m", "tests.bench.raft_bench", f"{folder}/{node_id}"]
                processes.append(
                    subprocess.Popen(
                        [*command, node_id, str(port), str(tls or ""), *members],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "up\n"
            yield Servers(processes)
        finally:
            for process in processes:
                process.kill()
                process.wait()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:]))
