"""A big stream on its own connection while certificates change, sidecars drain, are replaced, die:
what arrives is whole, or the application sees a reset; nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from proxy.revocations import of_entries
from proxy.source import LeafPair
from tests.ports import free_port
from tests.proxy.mesh import QUICK, TRUST_DOMAIN, Authority, Mesh, rule, until
from tests.proxy.processes import PROXY_ID, end, prepared, spawn
from tests.proxy.test_api_source import Agent
from tests.proxy.test_workers import told
from tests.proxy.tunnel.test_own import (
    BLOCK,
    EARLY,
    connect,
    descriptors,
    digest,
    own,
    own_threads,
)

pytestmark = [pytest.mark.calm, pytest.mark.timeout(240)]

#: The threads are what moves bytes here.
ONE_LOOP = True
EARLY_THERE = {"own_bytes": 1 << 19, "own_within_s": 60.0, "bulk_bytes": 1 << 18}


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = Mesh(replace(QUICK, tunnel_limits=EARLY, drain_timeout_s=60.0))
    async with made.stack:
        yield made
    await until(lambda: not own_threads(), "threads end with their proxies")


class Receiver:
    """An application that reads to the end, and then answers what it has read."""

    def __init__(self) -> None:
        self.whole = 0
        self.reset = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = hashlib.blake2b()
        try:
            while data := await reader.read(1 << 20):
                found.update(data)
        except ConnectionError:
            self.reset += 1
            raise
        self.whole += 1
        if not writer.transport.is_closing():
            writer.write(found.digest())
            writer.write_eof()


class Sender:
    """Writes blocks on a connection until it is told to end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.blocks = 0

    async def __aenter__(self) -> Sender:
        self._reader, self._writer = await connect(self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()

    async def more(self, blocks: int = 3) -> None:
        """Write so many more."""
        async with asyncio.timeout(60):
            for _ in range(blocks):
                self._writer.write(BLOCK)
                await self._writer.drain()
                self.blocks += 1

    async def until(self, there: Callable[[], bool]) -> None:
        """Write until something is so, and a little more."""
        async with asyncio.timeout(120):
            while not there():
                await self.more(1)
            await self.more()

    async def is_whole(self) -> bool:
        """End, and see that all has arrived."""
        self._writer.write_eof()
        async with asyncio.timeout(60):
            return await self._reader.read() == digest(self.blocks)

    async def is_reset(self) -> bool:
        """Whether the connection ends with a reset, and not as one that is whole."""
        reading = asyncio.get_running_loop().create_task(self._reader.read(1))
        async with asyncio.timeout(60):
            while not reading.done():
                with contextlib.suppress(ConnectionError):
                    if not self._writer.transport.is_closing():
                        self._writer.write(BLOCK)
                        await self._writer.drain()
                await asyncio.sleep(0)
        return isinstance(reading.exception(), ConnectionError)


def moved(mesh: Mesh) -> bool:
    return own(mesh.proxies["web"]) == 1 and own(mesh.proxies["db"], "in") == 1


def serial(leaf: LeafPair) -> str:
    return f"{x509.load_pem_x509_certificate(leaf.cert_pem.encode()).serial_number:x}"


def rotated(mesh: Mesh, *services: str) -> None:
    for service in services:
        mesh.sources[service].change(leaf=mesh.authority.leaf(service))


async def test_new_leaves_and_roots_cut_nothing(mesh: Mesh) -> None:
    """Before a stream moves (its connection has another leaf than its tunnel then) and after."""
    receiver = Receiver()
    async with Sender(await mesh.pair(await mesh.app(receiver))) as sender:
        await sender.more(0)
        await until(lambda: mesh.proxies["web"].tunnels.streams == 1, "the stream stands")
        rotated(mesh, "web", "db")
        await sender.until(lambda: moved(mesh))
        rotated(mesh, "web", "db")
        both = (mesh.authority.root.public.root_cert, Authority().root.public.root_cert)
        for service in ("web", "db"):
            mesh.sources[service].change(roots_pem=both)
        await sender.more()
        assert moved(mesh)
        assert await sender.is_whole()
    told = mesh.proxies["web"].metrics()
    labels = 'service="web",dc="dc1",direction="outbound"'
    assert f'lictor_proxy_own_stream_offers_total{{{labels},result="taken"}} 1\n' in told
    assert f'lictor_proxy_own_stream_bytes_total{{{labels},from="app"}} ' in told
    assert f"lictor_proxy_own_streams_active{{{labels}}} 0\n" in told


@pytest.mark.parametrize("which", ["tunnel", "own"])
@pytest.mark.parametrize("holder", ["web", "db"])
async def test_a_revoked_certificate_cuts_it(mesh: Mesh, which: str, holder: str) -> None:
    """Be it that of the tunnel in which it began, or that of its own connection."""
    receiver = Receiver()
    port = await mesh.pair(await mesh.app(receiver))
    before = descriptors()
    async with Sender(port) as sender:
        await until(lambda: mesh.proxies["web"].tunnels.streams == 1, "the stream stands")
        first = mesh.sources[holder].state.leaf
        rotated(mesh, holder)
        second = mesh.sources[holder].state.leaf
        assert first is not None and second is not None
        await sender.until(lambda: moved(mesh))
        other = "db" if holder == "web" else "web"
        revoked = of_entries([(serial(first if which == "tunnel" else second), "", 0.0)])
        mesh.sources[other].change(revoked=revoked)
        await until(lambda: not own_threads(), "the threads end")
        assert await sender.is_reset() or (which, holder) == ("tunnel", "db")
    await until(lambda: receiver.whole + receiver.reset == 1, "the application sees an end")
    if which == "own":
        assert receiver.reset == 1
    # Both ends of a tunnel may stay, which serves other streams.
    await until(lambda: descriptors() <= before + 2, "all sockets are closed")


@pytest.mark.long
@pytest.mark.parametrize("side", ["web", "db"])
async def test_a_drain_lets_it_end_and_resets_what_does_not(mesh: Mesh, side: str) -> None:
    receiver = Receiver()
    port = await mesh.pair(await mesh.app(receiver))
    async with Sender(port) as one, Sender(port) as other:
        await one.until(lambda: moved(mesh))
        await other.until(lambda: own(mesh.proxies["web"]) == 2)
        proxy = mesh.proxies[side]
        proxy.config = replace(proxy.config, drain_timeout_s=5.0)
        draining = asyncio.get_running_loop().create_task(proxy.drain(grace_s=0.0))
        assert await one.is_whole()
        assert not draining.done()
        assert await other.is_reset()
        await asyncio.wait_for(draining, 60)
    await until(lambda: receiver.reset == 1, "the application sees a reset")
    assert receiver.whole == 1


async def test_rules_that_change_cut_the_peers_application_with_a_reset(mesh: Mesh) -> None:
    async with Sender(await mesh.pair(await mesh.app(Receiver()))) as sender:
        await sender.until(lambda: moved(mesh))
        mesh.sources["db"].change(rules=(rule("web", "db", "deny"),))
        assert await sender.is_reset()
    assert not moved(mesh)


# Sidecars as processes.


SIDE = """
import asyncio, json, signal, sys, uvloop
from proxy.config import ProxyConfig
from proxy.server import Proxy
from proxy.tunnel.limits import TunnelLimits
from tests.bench.mesh.side import _Fixed, state_of
told = json.loads(sys.argv[1])
_Fixed.rejected = 0
async def run():
    proxy = Proxy(_Fixed(state_of(told)), ProxyConfig(tunnel_limits=TunnelLimits(**told["tunnel"])))
    await proxy.start()
    await proxy.open_admin(port=told["admin"])
    await asyncio.Event().wait()
uvloop.run(run())
"""


class Side:
    """A sidecar as a process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, admin: int) -> None:
        self.process, self.port, self._admin = process, port, admin

    async def moved(self) -> int:
        """How many streams have their own connection; -1 while nobody answers."""
        ways = [f'direction="{way}"' for way in ("inbound", "outbound")]
        found = [await told(self._admin, "own_streams_active", way) for way in ways]
        return int(sum(found)) if min(found) >= 0 else -1

    def held(self) -> tuple[int, int]:
        """Its threads and descriptors."""
        there = f"/proc/{self.process.pid}"
        return len(os.listdir(f"{there}/task")), len(os.listdir(f"{there}/fd"))


@asynccontextmanager
async def sides(folder: Path, app: int) -> AsyncIterator[dict[str, Side]]:
    authority, made = Authority(), {}
    (folder / "roots.pem").write_text(authority.root.public.root_cert)
    async with AsyncExitStack() as stack:
        to = app
        for name in ("db", "web"):
            leaf = authority.leaf(name)
            (folder / f"{name}.crt").write_text(leaf.cert_pem)
            (folder / f"{name}.key").write_text(leaf.private_key_pem)
            listen, admin = free_port(), free_port()
            state = {
                "folder": str(folder), "side": name, "listen": listen, "to": to, "http": False,
                "trust_domain": TRUST_DOMAIN, "admin": admin, "tunnel": EARLY_THERE,
            }  # fmt: skip
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", SIDE, json.dumps(state)
            )
            stack.push_async_callback(end, process)
            side = made[name] = Side(process, listen, admin)
            async with asyncio.timeout(60):
                while await side.moved() < 0:
                    await asyncio.sleep(0.05)
            to = listen
        yield made


@pytest.mark.long
@pytest.mark.parametrize("victim", ["web", "db"])
@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_sidecar_that_is_killed_leaves_no_end_that_looks_whole(
    victim: str, way: str, tmp_path: Path
) -> None:
    ends: list[str] = []

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                if way == "down":
                    writer.write(BLOCK)
                    await writer.drain()
                elif not await reader.read(1 << 20):
                    ends.append("whole")
                    return
        except ConnectionError:
            ends.append("reset")
            raise

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        try:
            while True:
                if way == "up":
                    writer.write(BLOCK)
                    await writer.drain()
                elif not await reader.read(1 << 20):
                    return "whole"
        except ConnectionError:
            return "reset"

    made = Mesh()
    async with made.stack, sides(tmp_path, await made.app(app)) as both:
        other = both["db" if victim == "web" else "web"]
        before = other.held()
        reader, writer = await connect(both["web"].port)
        pumping = asyncio.get_running_loop().create_task(pump(reader, writer))
        async with asyncio.timeout(120):
            while await both["web"].moved() < 1 or await both["db"].moved() < 1:
                assert not pumping.done()
        both[victim].process.send_signal(signal.SIGKILL)
        assert await asyncio.wait_for(pumping, 60) == "reset"
        await until(lambda: ends == ["reset"], "the application sees a reset")
        writer.transport.abort()
        async with asyncio.timeout(60):
            while await other.moved() > 0:
                await asyncio.sleep(0.05)
        threads, fds = before
        await until(
            lambda: other.held()[0] <= threads + 1 and other.held()[1] <= fds + 1,
            "threads and descriptors are given back",
        )


@pytest.mark.long
@pytest.mark.parametrize("ends", ["whole", "reset"])
async def test_the_old_process_serves_it_until_it_has_drained(
    agent: Agent, tmp_path: Path, ends: str
) -> None:
    """A hot upgrade of the sidecar that dialled: new connections go to the new process, the big
    stream ends in order in the old one, or with a reset when its drain is over."""
    receiver, made = Receiver(), Mesh(replace(QUICK, tunnel_limits=EARLY))
    path = str(tmp_path / "handover")
    options = {
        "http_addr": agent.address, "proxy_id": PROXY_ID, "handover": path, "admin_bind": "off",
        "tunnel": EARLY_THERE, "drains_s": 60.0 if ends == "whole" else 3.0,
    }  # fmt: skip
    async with made.stack:
        port = await prepared(agent, made, receiver)
        db, old, new = made.proxies["db"], await spawn(**options), None
        try:
            async with asyncio.timeout(60):
                while not await listens(port):
                    await asyncio.sleep(0.05)
            await until(lambda: os.path.exists(path), "it can be asked", 60)
            async with Sender(port) as sender:
                await sender.until(lambda: own(db, "in") == 1)
                new = await spawn(silent=True, **options)
                assert old.stderr is not None
                await asyncio.wait_for(old.stderr.readuntil(b"another process serves now"), 90)
                await sender.more()
                assert own(db, "in") == 1
                if ends == "whole":
                    assert await sender.is_whole()
                else:
                    assert await sender.is_reset()
                assert await asyncio.wait_for(old.wait(), 90) == 0
            async with Sender(port) as sender:
                await sender.until(lambda: own(db, "in") == 1)
                assert await sender.is_whole()
            assert new.returncode is None
        finally:
            await end(old, new)
    await until(lambda: not own_threads(), "threads end")


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
