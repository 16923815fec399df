"""The sidecar as a process: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from proxy.errors import SourceError
from proxy.source import AppAddress, UpstreamSpec
from proxy.worker import ProxyOptions, own_of_flags
from tests.proxy.mesh import Authority, Mesh, until
from tests.proxy.processes import (
    SCRIPT,
    end,
    gone,
    prepared,
    serves,
    spawn,
)
from tests.proxy.test_api_source import Agent, fill

#: What is tested runs in another process, on a loop of its own.
ONE_LOOP = True


async def test_a_sidecar_process_serves_says_who_it_is_and_drains_on_sigterm(
    agent: Agent, mesh: Mesh
) -> None:
    port = await prepared(agent, mesh)
    process = await spawn(http_addr=agent.address, sidecar_for="web")
    try:
        assert process.stdout is not None
        lines = [(await process.stdout.readline()).decode().rstrip("\n") for _ in range(4)]
        assert lines == [
            "==> Consul Connect proxy starting...",
            "    Configuration mode: Agent API",
            "        Sidecar for ID: web",
            "              Proxy ID: web-sidecar-proxy",
        ]
        await serves(port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"open")
        assert await asyncio.wait_for(reader.readexactly(4), 5) == b"open"
        process.send_signal(signal.SIGTERM)
        writer.write(b"last")  # an open connection may finish
        assert await asyncio.wait_for(reader.readexactly(4), 5) == b"last"
        writer.close()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        await end(process)


async def test_a_second_signal_ends_the_drain(agent: Agent) -> None:
    fill(agent, Authority())
    process = await spawn(http_addr=agent.address, proxy_id="web-sidecar-proxy")
    try:
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readuntil(b"Log data"), 10)
        await until(lambda: any("health" in path for path in agent.asked), "it follows the agent")
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        await end(process)


async def test_without_a_registration_the_process_says_so_and_ends_with_1(agent: Agent) -> None:
    agent.put("/v1/agent/services", {})
    process = await spawn(http_addr=agent.address, sidecar_for="web")
    _, said = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 1
    assert b"No sidecar proxy registered for web" in said


async def test_a_child_ends_with_its_parent(agent: Agent) -> None:
    fill(agent, Authority())
    child = (
        "import os, subprocess, sys\n"
        "options = eval(sys.argv[2]); options['parent_pid'] = os.getpid()\n"
        "child = subprocess.Popen([sys.executable, '-c', sys.argv[1], repr(options)])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()"
    )
    options = {"http_addr": agent.address, "proxy_id": "web-sidecar-proxy"}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", child, SCRIPT, repr(options),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert parent.stdout is not None
        pid = int(await asyncio.wait_for(parent.stdout.readline(), 10))
        await until(lambda: any("health" in path for path in agent.asked), "it follows the agent")
        parent.kill()

        await until(lambda: gone(pid), "the child ends")
    finally:
        await end(parent)


def test_plain_flags_describe_a_service() -> None:
    own = own_of_flags(
        ProxyOptions(
            service="web",
            service_addr="127.0.0.1:8080",
            listen=":8443",
            upstreams=(("db", 9191),),
        )
    )
    assert (own.name, own.listen_address, own.listen_port) == ("web", "0.0.0.0", 8443)
    assert own.app == AppAddress("127.0.0.1", 8080)
    assert own.upstreams == (UpstreamSpec(name="db", bind_port=9191),)
    for bad in ("x", "1.2.3.4", "1.2.3.4:0", "1.2.3.4:99999"):
        with pytest.raises(SourceError, match="-listen must be"):
            own_of_flags(ProxyOptions(service="web", service_addr="127.0.0.1:1", listen=bad))
    with pytest.raises(SourceError, match="-service-addr must be set"):
        own_of_flags(ProxyOptions(service="web", listen=":1"))
