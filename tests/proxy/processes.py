"""Sidecars as processes, beside an agent that a test plays and a mesh in the test's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.ports import free_port
from tests.proxy.mesh import Handler, Mesh, echo, endpoint
from tests.proxy.test_api_source import SIDECAR, Agent, fill, health

SCRIPT = """
import logging, sys
from proxy.config import ProxyConfig
from proxy.tunnel.limits import TunnelLimits
from proxy.worker import ProxyOptions, main_proxy
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
options = eval(sys.argv[1])
config = ProxyConfig(
    drain_grace_s=0.0, drain_timeout_s=options.pop("drains_s", 10.0), bind_retry_s=0.05,
    workers=options.pop("workers", 1), tunnel_limits=TunnelLimits(**options.pop("tunnel", {})),
)
raise SystemExit(main_proxy(ProxyOptions(config=config, **options)))
"""
PROXY_ID = "web-sidecar-proxy"


async def spawn(*, silent: bool = False, **options: object) -> asyncio.subprocess.Process:
    """A process with these options, with so many ``workers``, limits of a ``tunnel``, and seconds
    of a drain (``drains_s``); ``silent`` ones are not heard."""
    heard = asyncio.subprocess.DEVNULL if silent else asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, repr(options), stdout=heard, stderr=heard
    )


async def end(*processes: asyncio.subprocess.Process | None) -> None:
    """End what runs."""
    for process in processes:
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.communicate()


def children(process: asyncio.subprocess.Process) -> set[int]:
    """The ids of the processes that it has begun."""
    pid = process.pid
    return {int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def gone(pid: int) -> bool:
    """Whether a process has ended, though its parent may not have looked."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def prepared(agent: Agent, mesh: Mesh, app: Handler = echo) -> int:
    """The port of web's upstream db, of which the agent tells."""
    db = await mesh.sidecar("db", app_port=await mesh.app(app))
    fill(agent, mesh.authority)
    port = free_port()
    proxy = dict(SIDECAR["Proxy"])  # type: ignore[call-overload]
    proxy["Upstreams"] = [{"DestinationName": "db", "LocalBindPort": port}]
    sidecar = {**SIDECAR, "Address": "127.0.0.1", "Port": free_port(), "Proxy": proxy}
    agent.put(f"/v1/agent/service/{PROXY_ID}", sidecar)
    agent.put("/v1/agent/services", {PROXY_ID: sidecar})
    agent.put("/v1/health/connect/db", [health(endpoint(db).port, "127.0.0.1")])
    return port


async def answers(port: int) -> bool:
    """Whether a short exchange succeeds."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"ping")
        return await asyncio.wait_for(reader.read(4), 5) == b"ping"
    except ConnectionError:
        return False
    finally:
        writer.close()


async def serves(port: int) -> None:
    """Wait for the first answer."""
    async with asyncio.timeout(60):
        while not await answers(port):
            await asyncio.sleep(0.05)


class Load:
    """Short exchanges, again and again."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.told: list[bool] = []

    @contextlib.asynccontextmanager
    async def going_on(self, at_once: int = 4) -> AsyncIterator[None]:
        """So many at once; all of them must have been answered."""
        over = asyncio.Event()

        async def one() -> None:
            while not over.is_set():
                self.told.append(await answers(self.port))

        tasks = [asyncio.get_running_loop().create_task(one()) for _ in range(at_once)]
        try:
            yield
        finally:
            over.set()
            await asyncio.gather(*tasks)
        assert all(self.told), f"{self.told.count(False)} of {len(self.told)} failed"
