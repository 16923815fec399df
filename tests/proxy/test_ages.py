"""Old connections of clients whose certificates have ended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ages import JITTER, lifetime_s
from tests.proxy.mesh import QUICK, Mesh, until

AGES = st.floats(1.0, 1e6)


@given(AGES, st.floats(-1e6, 1e6), st.integers(0, 99))
def test_a_connection_lives_about_its_age_and_never_less_than_the_certificate(age_s, left_s, seed):
    found = lifetime_s(age_s, 1e9 + left_s, wall=1e9, rng=random.Random(seed))
    assert found >= age_s * (1 - JITTER) - 1e-6
    assert found >= left_s - 1e-6
    assert found <= max(age_s * (1 + JITTER), left_s) + 1e-6


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = Mesh(replace(QUICK, connection_age_s=0.2))
    async with made.stack:
        yield made


async def test_bytes_end_in_order(mesh: Mesh) -> None:
    """What stands on a certificate that is good still goes on."""
    port = await mesh.pair(await mesh.app())
    db = mesh.proxies["db"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello")
    assert await asyncio.wait_for(reader.readexactly(5), 30) == b"hello"
    (session,) = db._sessions
    left_s = session.core.deadline - asyncio.get_running_loop().time()
    assert 3000 < left_s < 3600, "until the leaf has ended, which has an hour left"
    session.core.deadline = session.core._ends_at = asyncio.get_running_loop().time()
    session.run([])
    assert await asyncio.wait_for(reader.read(), 30) == b"", "an end, not a reset"
    assert db.stats().events["cut", "max_connection_age"] == 1
    writer.close()
    await until(lambda: db.stats().inbound_active == 0, "nothing is left")
