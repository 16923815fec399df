"""What clients feel of a cluster: the gap when the leader dies, wake-ups of watchers, memory."""

from __future__ import annotations

import asyncio
import functools
import time
from pathlib import Path
from statistics import median

import uvloop

from tests.bench.http_bench import load, puts
from tests.bench.load import http_request
from tests.e2e.cluster import AgentProcess, Cluster, cluster, cpu_share, resident_mb
from tests.waiting import eventually

WATCHERS = 1000
IDLE = 10_000
#: Connections per client address are bounded, so watchers come from several.
WATCHERS_PER_ADDRESS = 100


def failover_s(agents: Cluster) -> float:
    """Seconds from kill -9 of the leader to the first write that another server acknowledges."""
    leader = agents.by_leader()
    other = next(a for a in agents.agents if a is not leader)
    other.put("/v1/kv/before", b"x")
    leader.kill()
    began = time.perf_counter()
    eventually(
        lambda: other.request("PUT", "/v1/kv/after", b"x", timeout_s=10).status == 200,
        within_s=20,
        what="a write is acknowledged again",
    )
    took = time.perf_counter() - began
    leader.start().ready()
    return took


class _Watcher(asyncio.Protocol):
    """One blocking query; notes when its answer came."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.answered.done():
            self.answered.set_result(time.perf_counter())

    def close(self) -> None:
        """Go away."""
        self._transport.close()


def on_processor_s(pid: int) -> float:
    """Seconds for which the main thread of a process has run."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


async def wake_up_ms(agent: AgentProcess) -> tuple[float, float, float]:
    """Milliseconds from a change of one service to the median and the last watcher's answer, and
    what each watcher costs the agent's processor meanwhile."""
    loop = asyncio.get_running_loop()
    path = "/v1/health/service/watched"
    body = {"Node": "w", "Address": "10.0.0.9", "Service": {"Service": "watched", "Port": 1}}
    await asyncio.to_thread(agent.put, "/v1/catalog/register", body)
    index = (await asyncio.to_thread(agent.get, path)).index
    request = http_request("GET", f"{path}?index={index}&wait=60s", agent.address)
    watchers = []
    for number in range(WATCHERS):
        source = (f"127.250.0.{1 + number // WATCHERS_PER_ADDRESS}", 0)
        _, watcher = await loop.create_connection(
            lambda: _Watcher(request), agent.address, 8500, local_addr=source
        )
        watchers.append(watcher)
    await asyncio.sleep(1.0)  # all of them are held by then
    assert not any(watcher.answered.done() for watcher in watchers)
    body["Service"] = {"Service": "watched", "Port": 2}
    assert agent.process is not None
    used_s, began = on_processor_s(agent.process.pid), time.perf_counter()
    await asyncio.to_thread(agent.put, "/v1/catalog/register", body)
    took = sorted([await watcher.answered - began for watcher in watchers])
    used_s = on_processor_s(agent.process.pid) - used_s
    for watcher in watchers:
        watcher.close()
    return took[len(took) // 2] * 1e3, took[-1] * 1e3, used_s / WATCHERS * 1e3


def bench_failover(folder: Path, count: int) -> None:
    """The gap over so many deaths of a leader."""
    with cluster(folder) as agents:
        agents.servers(3)
        gaps = [failover_s(agents) for _ in range(count)]
    print(
        f"\nleader kill -9 to the first write through another server, {count} rounds: "
        f"median {median(gaps):.2f} s, worst {max(gaps):.2f} s",
        flush=True,
    )


def bench_watch(folder: Path, count: int) -> None:
    """How soon 1,000 watchers of one service hear of its change."""
    with cluster(folder) as agents:
        agents.servers(3)
        took = [uvloop.run(wake_up_ms(agents.by_leader())) for _ in range(count)]
    print(
        f"\n{WATCHERS} blocking queries on one service, change to answer: "
        f"median {median(m for m, _, _ in took):.0f} ms, last {median(m for _, m, _ in took):.0f} "
        f"ms, {1e3 * median(each for _, _, each in took):.0f} us of a core for each",
        flush=True,
    )


async def _held(agent: AgentProcess, count: int) -> tuple[float, float, float]:
    """Megabytes before and with so many blocking queries held, and the share of a core they use."""
    loop = asyncio.get_running_loop()
    assert agent.process is not None
    pid = agent.process.pid
    body = {"Node": "w", "Address": "10.0.0.9", "Service": {"Service": "watched", "Port": 1}}
    agent.put("/v1/catalog/register", body)
    path = "/v1/health/service/watched"
    index = agent.get(path).index
    before = resident_mb(pid)
    watchers = []
    for number in range(count):
        request = http_request("GET", f"{path}?index={index}&wait=600s", agent.address)
        source = (f"127.77.0.{1 + number // WATCHERS_PER_ADDRESS}", 0)
        _, watcher = await loop.create_connection(
            functools.partial(_Watcher, request), agent.address, 8500, local_addr=source
        )
        watchers.append(watcher)
    await asyncio.sleep(2)
    held = resident_mb(pid)
    cpu = await asyncio.to_thread(cpu_share, pid, 5.0)
    assert not any(watcher.answered.done() for watcher in watchers), "nothing has changed"
    return before, held, cpu


def bench_idle(folder: Path) -> None:
    """What blocking queries cost that wait for nothing."""
    with cluster(folder) as agents:
        agents.servers(1)
        (agent,) = agents.agents
        quiet = cpu_share(agent.process.pid, 5.0) if agent.process else 0.0
        before, held, cpu = uvloop.run(_held(agent, IDLE))
    print(
        f"\n{IDLE} idle blocking queries: {held - before:.0f} MB more than {before:.0f} MB, "
        f"{100 * cpu:.1f} % of a core, {100 * quiet:.1f} % without",
        flush=True,
    )


def bench_memory(folder: Path) -> None:
    """Resident memory of a server, idle and after a load of writes."""
    with cluster(folder) as agents:
        agents.servers(3)
        leader = agents.by_leader()
        assert leader.process is not None
        idle = resident_mb(leader.process.pid)
        rate = load(leader, puts(leader), 10.0)
        loaded = resident_mb(leader.process.pid)
    print(
        f"\nresident memory of the leader: idle {idle:.0f} MB, "
        f"after {rate.per_second * 10:.0f} writes {loaded:.0f} MB",
        flush=True,
    )
