"""Heads come whole out of a pipe however they are cut, and wake nobody before."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import HttpViolation
from proxy.l7.limits import HttpLimits
from proxy.l7.pipe import Pipe
from proxy.relay import PlainStream
from proxy.stats import COMPILED
from tests.proxy.mesh import QUICK, until

ONE_LOOP = True
HEAD = b"GET /a HTTP/1.1\r\nHost: x\r\nX-Long: " + b"y" * 3000 + b"\r\n\r\n"


pytestmark = pytest.mark.skipif(COMPILED, reason="nobody can inherit from what is compiled")


class Counting(Pipe):
    wakes = 0

    def _wake(self) -> None:
        self.wakes += 1
        super()._wake()


async def read(pieces: list[bytes]) -> tuple[bytes, bytes, int]:
    """What a head and the rest come to, and how often somebody was woken."""
    pipe = Counting(HttpLimits())
    task = asyncio.get_running_loop().create_task(pipe.read_head(10.0, 10.0))
    for piece in pieces:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        pipe.send(piece)
    head = await asyncio.wait_for(task, 20)
    return head, bytes(pipe._buffer), pipe.wakes


@settings(max_examples=30)
@given(st.lists(st.integers(1, len(HEAD) + 9), max_size=12))
def test_a_head_comes_whole_however_it_is_cut(cuts: list[int]) -> None:
    raw, at, pieces = HEAD + b"rest of it", 0, []
    for cut in sorted(set(cuts)):
        pieces.append(raw[at:cut])
        at = cut
    head, rest, _ = asyncio.run(read([*pieces, raw[at:]]))
    assert (head, rest) == (HEAD, b"rest of it")


async def test_single_bytes_wake_nobody() -> None:
    head, _, wakes = await read([bytes([byte]) for byte in HEAD])
    assert head == HEAD
    assert wakes <= 2 + len(HEAD) // 1024


async def test_a_head_that_is_too_long_is_noticed_before_its_end() -> None:
    with pytest.raises(HttpViolation):
        await read([b"GET /" + b"a" * 500] + [b"a" * 500] * 20)


async def test_a_connection_that_is_gone_is_held_by_no_timer() -> None:
    """Thousands that come and go in a second would stay in memory for ten."""
    limits, loop, pipes = HttpLimits(), asyncio.get_running_loop(), []

    def accepted() -> asyncio.Protocol:
        pipes.append(Pipe(limits))
        return PlainStream(pipes[-1], QUICK)

    server = await loop.create_server(accepted, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await until(lambda: bool(pipes) and pipes[0].opened.is_set(), "it is there")
    pipes[0].finish()
    assert pipes[0]._ending is not None
    assert await reader.read() == b""
    writer.close()
    await until(lambda: pipes[0].gone, "it is gone")
    assert pipes[0]._ending is None
    server.close()
