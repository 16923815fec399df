"""One sidecar process after another, under load: nobody notices."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from proxy.config import ProxyConfig
from proxy.handover import Handover, Inheritance, Superseded, take
from proxy.listeners import Listener, ListenOn
from tests.proxy.mesh import Mesh, until
from tests.proxy.processes import (
    PROXY_ID,
    Load,
    end,
    prepared,
    serves,
    spawn,
)
from tests.proxy.test_api_source import Agent

pytestmark = [pytest.mark.calm, pytest.mark.timeout(180)]


#: What is tested runs in another process, on a loop of its own.
ONE_LOOP = True


async def test_a_new_process_takes_the_place_of_an_old_one_without_an_error(
    agent: Agent, mesh: Mesh, tmp_path: Path
) -> None:
    port, path = await prepared(agent, mesh), str(tmp_path / "handover")
    options = {
        "http_addr": agent.address, "proxy_id": PROXY_ID, "handover": path, "admin_bind": "off",
    }  # fmt: skip
    old, new, load = await spawn(**options), None, Load(port)
    try:
        await serves(port)
        await until(lambda: os.path.exists(path), "it can be asked", 30)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"open")
        assert await asyncio.wait_for(reader.readexactly(4), 20) == b"open"
        async with load.going_on():
            await until(lambda: len(load.told) > 20, "there is load", 30)
            new = await spawn(**options)
            assert old.stderr is not None
            await asyncio.wait_for(old.stderr.readuntil(b"another process serves now"), 60)
            writer.write(b"last")  # a connection of the old one lives on
            assert await asyncio.wait_for(reader.readexactly(4), 20) == b"last"
            writer.close()
            assert await asyncio.wait_for(old.wait(), 60) == 0
            before = len(load.told)
            await until(lambda: len(load.told) > before + 20, "the new one serves", 30)
        assert new.returncode is None
    finally:
        await end(old, new)


async def test_who_is_not_there_gives_nothing_and_who_breaks_off_takes_nothing(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "x")
    assert take(path) is None
    listener = Listener("a", ListenOn(address="127.0.0.1", port=0), asyncio.Protocol, ProxyConfig())
    await listener.run()
    giving = Handover(path, {"a": listener})
    giving.open()
    loop = asyncio.get_running_loop()
    waiting = loop.create_task(giving.wait())
    with socket.socket(socket.AF_UNIX) as early:
        await loop.run_in_executor(None, early.connect, path)
    taken = await loop.run_in_executor(None, take, path)
    assert taken is not None
    assert not waiting.done()
    sock = taken.take("127.0.0.1:0")
    assert sock is not None
    assert sock.getsockname()[1] == listener.port
    assert taken.take("127.0.0.1:0") is None
    sock.close()
    taken.serving()
    await asyncio.wait_for(waiting, 20)
    assert giving.given
    giving.close()
    listener.close()


async def test_who_comes_during_a_handover_gets_the_sockets_of_who_serves_then(
    tmp_path: Path,
) -> None:
    """Two replacements within seconds: the third process asks while the second one takes over."""
    path, loop = str(tmp_path / "x"), asyncio.get_running_loop()
    first, second = (
        Listener(name, ListenOn(address="127.0.0.1", port=0), asyncio.Protocol, ProxyConfig())
        for name in ("first", "second")
    )
    await first.run()
    await second.run()
    old, middle = Handover(path, {"a": first}), Handover(path, {"a": second})
    old.open()
    ending = loop.create_task(old.wait())
    taken = await loop.run_in_executor(None, take, path)
    assert taken is not None
    third = loop.run_in_executor(None, take, path)  # waits in the old one's queue
    middle.open()
    giving = loop.create_task(middle.wait())
    taken.serving()
    await asyncio.wait_for(ending, 20)
    found = await asyncio.wait_for(third, 60)
    assert found is not None
    sock = found.take("127.0.0.1:0")
    assert sock is not None and sock.getsockname()[1] == second.port
    sock.close()
    found.serving()
    await asyncio.wait_for(giving, 20)
    for each in (old, middle, first, second):
        each.close()


async def test_who_was_started_before_the_one_that_serves_takes_nothing(tmp_path: Path) -> None:
    """Three replacements within seconds: the third is given the sockets before the second."""
    path, loop = str(tmp_path / "x"), asyncio.get_running_loop()
    listener = Listener("a", ListenOn(address="127.0.0.1", port=0), asyncio.Protocol, ProxyConfig())
    await listener.run()
    serving = Handover(path, {"a": listener}, order=30)
    serving.open()
    giving = loop.create_task(serving.wait())

    def ask(order: int) -> Inheritance | None:
        return take(path, order=order)

    with pytest.raises(Superseded):
        await loop.run_in_executor(None, ask, 20)
    assert not giving.done() and not serving.given
    # Who does not know its place (another release), and who comes later, are given all.
    for order in (0, 40):
        taken = await loop.run_in_executor(None, ask, order)
        assert taken is not None
        sock = taken.take("127.0.0.1:0")
        assert sock is not None and sock.getsockname()[1] == listener.port
        sock.close()
        if order:
            taken.serving()
        taken.close()
    await asyncio.wait_for(giving, 30)
    serving.close()
    listener.close()


def test_who_ends_leaves_the_path_to_whoever_listens_there(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    first, second = Handover(path, {}), Handover(path, {})
    first.open()
    second.open()
    first.close()
    assert list(tmp_path.iterdir()), "a successor had opened it, and its word was not heard yet"
    second.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.long
async def test_a_process_that_comes_too_late_ends_at_once(
    agent: Agent, mesh: Mesh, tmp_path: Path
) -> None:
    port, path = await prepared(agent, mesh), str(tmp_path / "handover")
    options = {
        "http_addr": agent.address, "proxy_id": PROXY_ID, "handover": path, "admin_bind": "off",
        "silent": True,
    }  # fmt: skip
    serving, late = await spawn(order=30, **options), None
    try:
        await serves(port)
        await until(lambda: os.path.exists(path), "it can be asked", 30)
        late = await spawn(order=20, **options)
        assert await asyncio.wait_for(late.wait(), 60) == 0
        assert serving.returncode is None
        await serves(port)
    finally:
        await end(serving, late)
