"""Several processes behind the ports of one proxy: they share, die, and are replaced."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.proxy.mesh import Authority, Mesh, until
from tests.proxy.processes import (
    PROXY_ID,
    Load,
    answers,
    children,
    end,
    gone,
    prepared,
    serves,
    spawn,
)
from tests.proxy.test_api_source import Agent, fill

pytestmark = [pytest.mark.calm, pytest.mark.timeout(180)]

#: What is tested runs in other processes, on loops of their own.
ONE_LOOP = True


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
        silent=True, workers=2, http_addr=agent.address, proxy_id=PROXY_ID,
        admin_bind=f"127.0.0.1:{admin}",
    )  # fmt: skip
    try:
        await eventually(admin, "workers", 2)
        await serves(port)
        tcp = "connections_total", 'direction="outbound",protocol="tcp"'
        before = await told(admin, *tcp)
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(24)]
        for number, (reader, writer) in enumerate(streams):
            writer.write(b"%04d" % number)
            assert await asyncio.wait_for(reader.readexactly(4), 20) == b"%04d" % number
        # Whichever worker is asked, the figures are those of both.
        for _ in range(6):
            assert await told(admin, *tcp) == before + len(streams)
        victim, other = sorted(children(crew))
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
        await until(lambda: len(children(crew)) == 2, "another one runs")
        assert other in children(crew) and victim not in children(crew)
        await eventually(admin, "workers", 2)
        assert all([await answers(port) for _ in range(16)])
        crew.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(crew.wait(), 30) == 0
        assert not await answers(port)
    finally:
        await end(crew)


@pytest.mark.long
async def test_others_take_their_place_without_an_error(
    agent: Agent, mesh: Mesh, tmp_path: Path
) -> None:
    port, path = await prepared(agent, mesh), str(tmp_path / "handover")
    options = {
        "http_addr": agent.address, "proxy_id": PROXY_ID, "handover": path, "admin_bind": "off",
        "workers": 2, "silent": True,
    }  # fmt: skip
    old, new, load = await spawn(**options), None, Load(port)
    try:
        await serves(port)
        await until(lambda: os.path.exists(path) and os.path.exists(f"{path}.1"), "both give")
        async with load.going_on():
            await until(lambda: len(load.told) > 20, "there is load")
            new = await spawn(**options)
            assert await asyncio.wait_for(old.wait(), 90) == 0
            before = len(load.told)
            await until(lambda: len(load.told) > before + 20, "the new ones serve")
        assert len(children(new)) == 2
    finally:
        await end(old, new)


@pytest.mark.long
async def test_workers_end_with_their_parent_and_that_with_what_none_can_begin(
    agent: Agent,
) -> None:
    fill(agent, Authority())
    options = {"http_addr": agent.address, "admin_bind": "off", "workers": 2, "silent": True}
    crew = await spawn(proxy_id=PROXY_ID, **options)
    try:
        await until(lambda: len(children(crew)) == 2, "both run")
        await until(lambda: any("health" in path for path in agent.asked), "one follows the agent")
        pids = children(crew)
        crew.kill()
        await until(lambda: all(map(gone, pids)), "the workers end")
    finally:
        await end(crew)
    agent.put("/v1/agent/services", {})
    crew = await spawn(sidecar_for="web", **options)
    assert await asyncio.wait_for(crew.wait(), 60) == 1
