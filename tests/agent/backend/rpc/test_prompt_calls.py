"""Calls by callback: told once, whatever becomes of the server, and no task for them there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from agent.backend.rpc.client import RemoteFailure, RpcLimits, RpcPool
from agent.backend.rpc.server import ServerPort
from agent.errors import ForwardError
from raftstore.errors import NotLeader
from tests.agent.backend.rpc.test_server import Peers, config, handler, until

Told = list["bytes | ForwardError"]


class Prompt:
    """Echoes at once, refuses, or keeps a call until it is let go."""

    def __init__(self) -> None:
        self.held: list[Callable[[bytes | Exception], None]] = []

    def begin(
        self,
        method: str,
        payload: bytes,
        timeout_s: float,
        done: Callable[[bytes | Exception], None],
    ) -> bool:
        if method == "hold":
            self.held.append(done)
        elif method == "turn away":
            done(NotLeader("b"))
        elif method == "swell":
            done(b"x" * (2 << 20))
        elif method == "prompt":
            done(payload)
        else:
            return False
        return True


@pytest.fixture
def prompt() -> Prompt:
    return Prompt()


@pytest.fixture
async def port(prompt: Prompt) -> AsyncIterator[ServerPort]:
    server = ServerPort(config(), peers=Peers(), handler=handler, prompt=prompt.begin)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def pool(port: ServerPort) -> AsyncIterator[RpcPool]:
    pool = RpcPool(datacenter="dc1", node="c1", limits=RpcLimits(inflight_max=20))
    await pool.call(port.address, "prompt", b"", timeout_s=5)
    yield pool
    await pool.close()


def begin(
    pool: RpcPool, port: ServerPort, method: str, payload: bytes = b"", timeout_s: float = 5.0
) -> Told:
    told: Told = []
    assert pool.call_soon(port.address, method, payload, timeout_s=timeout_s, done=told.append)
    return told


async def test_a_call_is_answered_without_a_task(port: ServerPort, pool: RpcPool) -> None:
    calls = [begin(pool, port, "prompt", b"%d" % number) for number in range(8)]
    assert len(port.owner) == 0
    await until(lambda: all(calls))
    assert calls == [[b"%d" % number] for number in range(8)]


async def test_what_needs_a_task_gets_one(port: ServerPort, pool: RpcPool) -> None:
    told = begin(pool, port, "echo", b"long way")
    await until(lambda: bool(told))
    assert told == [b"long way"]


async def test_a_failure_is_told_as_a_failure(port: ServerPort, pool: RpcPool) -> None:
    away, large = begin(pool, port, "turn away"), begin(pool, port, "swell")
    await until(lambda: bool(away and large))
    assert isinstance(away[0], RemoteFailure) and isinstance(large[0], RemoteFailure)
    assert (away[0].code, away[0].definite) == ("NotLeader", True)
    assert (large[0].code, large[0].definite) == ("too-large", False)


async def test_a_late_answer_is_indefinite_and_told_once(
    port: ServerPort, pool: RpcPool, prompt: Prompt
) -> None:
    told = begin(pool, port, "hold", timeout_s=0.05)
    await until(lambda: bool(told))
    assert isinstance(told[0], ForwardError) and not told[0].definite
    prompt.held[0](b"too late")
    assert await pool.call(port.address, "prompt", b"after", timeout_s=5) == b"after"
    assert len(told) == 1


async def test_a_lost_connection_is_told_to_everybody_once(
    port: ServerPort, pool: RpcPool, prompt: Prompt
) -> None:
    calls = [begin(pool, port, "hold") for _ in range(5)]
    await until(lambda: len(prompt.held) == 5)
    await port.stop()
    await until(lambda: all(calls))
    assert all(isinstance(told[0], ForwardError) and not told[0].definite for told in calls)
    for done in prompt.held:
        done(b"nobody is there any more")
    await asyncio.sleep(0)
    assert [len(told) for told in calls] == [1] * 5


async def test_without_a_connection_nothing_is_done(port: ServerPort) -> None:
    pool = RpcPool(datacenter="dc1", node="c1", limits=RpcLimits())
    told: Told = []
    assert not pool.call_soon(port.address, "prompt", b"", timeout_s=5, done=told.append)
    assert not told
    await pool.close()


async def test_both_ends_bound_what_is_under_way(
    port: ServerPort, pool: RpcPool, prompt: Prompt
) -> None:
    calls = [begin(pool, port, "hold") for _ in range(21)]
    assert isinstance(calls[20][0], ForwardError) and calls[20][0].definite  # ours: 20
    await until(lambda: all(calls[8:20]))
    busy = [told[0] for told in calls[8:20]]
    assert all(
        isinstance(each, RemoteFailure) and each.code == "busy" for each in busy
    )  # theirs: 8
    for done in prompt.held:
        done(b"done")
    await until(lambda: all(calls))
    assert [told[0] for told in calls[:8]] == [b"done"] * 8
