"""A client whose body drips is told so."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.l7.limits import HttpLimits
from proxy.l7.pace import Pace
from tests.proxy.l7.pair import answer, pair
from tests.proxy.l7.test_short_exchange import App
from tests.proxy.mesh import QUICK

PIECES = st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 20)), min_size=1, max_size=20)


@given(PIECES)
def test_too_slow_is_below_the_rate_after_the_time(pieces: list[tuple[int, float]]) -> None:
    pace, size, waited_s = Pace(HttpLimits()), 0, 0.0
    for each, wait_s in pieces:
        size, waited_s = size + each, waited_s + wait_s
        assert pace.too_slow(each, wait_s) == (waited_s > 10.0 and size < 240.0 * waited_s)


@pytest.mark.parametrize("more", ["", "Expect: 100-continue\r\n"], ids=["short", "long"])
async def test_a_dripping_client_is_told_so(more: str) -> None:
    limits = HttpLimits(body_rate_after_s=0.2)
    async with pair(App(), replace(QUICK, http_limits=limits)) as net:
        reader, writer = await net.connect()
        writer.write(f"POST /a HTTP/1.1\r\nHost: db\r\nContent-Length: 99\r\n{more}\r\n".encode())
        if more:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        for _ in range(90):
            writer.write(b"x")
            await asyncio.sleep(0.02)  # what a drip is
            if reader.at_eof():
                break
        first, headers, body = await answer(reader)
        assert first.split()[1] == "408" and body == b"the body came too slowly"
        assert headers["connection"] == "close"
        assert all(said.startswith("GET") for said, _, _ in net.app.seen)
