"""Several processes behind the ports of one proxy: they share, die, and are replaced."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.proxy.mesh import Authority, Mesh, endpoint, until
from tests.proxy.test_api_source import SIDECAR, Agent, fill, health
from tests.proxy.test_worker import answers, end

pytestmark = [pytest.mark.calm, pytest.mark.timeout(180)]

SCRIPT = """
import logging, sys
from proxy.config import ProxyConfig
from proxy.worker import ProxyOptions, main_proxy
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
config = ProxyConfig(drain_grace_s=0.0, drain_timeout_s=5.0, bind_retry_s=0.05, workers=2)
raise SystemExit(main_proxy(ProxyOptions(config=config, **eval(sys.argv[1]))))
"""


class Crew:
    """A process with two workers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @property
    def workers(self) -> set[int]:
        """Their process ids."""
        pid = self.process.pid
        return {int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    made = Agent()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = Mesh()
    async with made.stack:
        yield made


async def spawn(**options: object) -> Crew:
    return Crew(
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", SCRIPT, repr(options), stderr=asyncio.subprocess.DEVNULL
        )
    )


async def prepared(agent: Agent, mesh: Mesh) -> int:
    """The port of web's upstream."""
    db = await mesh.sidecar("db", app_port=await mesh.app())
    fill(agent, mesh.authority)
    port = free_port()
    proxy = dict(SIDECAR["Proxy"])  # type: ignore[call-overload]
    proxy["Upstreams"] = [{"DestinationName": "db", "LocalBindPort": port}]
    sidecar = {**SIDECAR, "Address": "127.0.0.1", "Port": free_port(), "Proxy": proxy}
    agent.put("/v1/agent/service/web-sidecar-proxy", sidecar)
    agent.put("/v1/health/connect/db", [health(endpoint(db).port, "127.0.0.1")])
    return port


async def told(port: int, metric: str, label: str = "") -> float:
    """A metric of all workers; -1 while nobody answers."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.0\r\nHost: 127.0.0.1:1\r\n\r\n")
        raw = (await asyncio.wait_for(reader.read(), 20)).decode()
        writer.close()
    except OSError:
        return -1.0
    found = re.search(rf"^lictor_proxy_{metric}{{[^}}]*{label}}} ([0-9.]+)$", raw, re.MULTILINE)
    return float(found[1]) if found else -1.0


async def eventually(port: int, metric: str, number: float) -> None:
    async with asyncio.timeout(60):
        while await told(port, metric) != number:
            await asyncio.sleep(0.05)


async def test_two_share_a_port_and_one_that_dies_costs_only_its_own(
    agent: Agent, mesh: Mesh
) -> None:
    port, admin = await prepared(agent, mesh), free_port()
    crew = await spawn(
        http_addr=agent.address, proxy_id="web-sidecar-proxy", admin_bind=f"127.0.0.1:{admin}"
    )
    try:
        await eventually(admin, "workers", 2)
        while not await answers(port):
            await asyncio.sleep(0.05)
        tcp = "connections_total", 'direction="outbound",protocol="tcp"'
        before = await told(admin, *tcp)
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(24)]
        for number, (reader, writer) in enumerate(streams):
            writer.write(b"%04d" % number)
            assert await asyncio.wait_for(reader.readexactly(4), 20) == b"%04d" % number
        # Whichever worker is asked, the figures are those of both.
        for _ in range(6):
            assert await told(admin, *tcp) == before + len(streams)
        victim, other = sorted(crew.workers)
        os.kill(victim, signal.SIGKILL)
        lives = []
        for reader, writer in streams:
            writer.write(b"more")
            try:
                lives.append(await asyncio.wait_for(reader.read(4), 20) == b"more")
            except ConnectionError:
                lives.append(False)
            writer.close()
        assert 0 < sum(lives) < len(streams), "each had some, and only one's are gone"
        await until(lambda: len(crew.workers) == 2, "another one runs")
        assert other in crew.workers and victim not in crew.workers
        await eventually(admin, "workers", 2)
        assert all([await answers(port) for _ in range(16)])
        crew.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(crew.process.wait(), 30) == 0
        assert not await answers(port)
    finally:
        await end(crew.process)


@pytest.mark.long
async def test_others_take_their_place_without_an_error(
    agent: Agent, mesh: Mesh, tmp_path: Path
) -> None:
    port, path = await prepared(agent, mesh), str(tmp_path / "handover")
    options = {
        "http_addr": agent.address, "proxy_id": "web-sidecar-proxy", "handover": path,
        "admin_bind": "off",
    }  # fmt: skip
    old = await spawn(**options)
    new = None
    told_: list[bool] = []
    over = asyncio.Event()

    async def load() -> None:
        while not over.is_set():
            told_.append(await answers(port))

    try:
        while not await answers(port):
            await asyncio.sleep(0.05)
        await until(lambda: os.path.exists(path) and os.path.exists(f"{path}.1"), "both give")
        loop = asyncio.get_running_loop()
        loads = [loop.create_task(load()) for _ in range(4)]
        await until(lambda: len(told_) > 20, "there is load")
        new = await spawn(**options)
        assert await asyncio.wait_for(old.process.wait(), 90) == 0
        before = len(told_)
        await until(lambda: len(told_) > before + 20, "the new ones serve")
        over.set()
        await asyncio.gather(*loads)
        assert all(told_), f"{told_.count(False)} of {len(told_)} failed"
        assert len(new.workers) == 2
    finally:
        over.set()
        await end(old.process)
        if new is not None:
            await end(new.process)


@pytest.mark.long
async def test_workers_end_with_their_parent_and_that_with_what_none_can_begin(
    agent: Agent,
) -> None:
    fill(agent, Authority())
    crew = await spawn(http_addr=agent.address, proxy_id="web-sidecar-proxy", admin_bind="off")
    try:
        await until(lambda: len(crew.workers) == 2, "both run")
        await until(lambda: any("health" in path for path in agent.asked), "one follows the agent")
        pids = crew.workers
        crew.process.kill()

        def gone(pid: int) -> bool:
            try:
                return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
            except FileNotFoundError:
                return True

        await until(lambda: all(map(gone, pids)), "the workers end")
    finally:
        await end(crew.process)
    agent.put("/v1/agent/services", {})
    crew = await spawn(http_addr=agent.address, sidecar_for="web", admin_bind="off")
    assert await asyncio.wait_for(crew.process.wait(), 60) == 1
