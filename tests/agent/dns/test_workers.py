"""Worker processes share the port, give out what is ready, forget what moved, and come back."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode
import pytest

from agent.config.schema import AgentConfig, DnsConfig
from agent.dns import DnsServer
from tests.agent.dns.catalog import Catalog
from tests.agent.dns.test_server import instance
from tests.e2e.cluster import fresh_address

pytestmark = pytest.mark.timeout(120)
WITHIN_S = 40.0


@contextlib.asynccontextmanager
async def served(catalog: Catalog, workers: int = 2) -> AsyncIterator[DnsServer]:
    config = AgentConfig(node_name="n", dns=DnsConfig(workers=workers))
    server = DnsServer(config, catalog)
    await server.listen(((fresh_address(), 0),))
    try:
        yield server
    finally:
        await server.stop()


async def ask(server: DnsServer, name: str = "web.service.consul.") -> dns.message.Message:
    """From another port each time, so that each worker gets its share."""
    host, port = server.addresses[0]
    query = dns.message.make_query(name, "A")
    return await dns.asyncquery.udp(query, host, port=port, timeout=10, one_rr_per_rrset=True)


def addresses(message: dns.message.Message) -> list[str]:
    return [rrset[0].to_text() for rrset in message.answer]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.02)


def children() -> set[int]:
    """The workers of this process."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == os.getpid() and b"agent.dns.worker" in (path / "cmdline").read_bytes():
                found.add(int(path.name))
    return found


@pytest.fixture
def catalog() -> Catalog:
    made = Catalog()
    for number in (1, 2, 3):
        instance(made, number)
    return made


async def test_ready_answers_are_given_out_in_turns_and_forgotten_when_they_move(
    catalog: Catalog,
) -> None:
    async with served(catalog) as server:
        firsts = collections.Counter([addresses(await ask(server))[0] for _ in range(120)])
        assert set(firsts) == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
        assert min(firsts.values()) > 20
        workers = server.stats().workers
        assert workers.running_current == 2
        assert workers.asked < 60, "most are answered without the agent"
        instance(catalog, 1, "critical")
        async with asyncio.timeout(WITHIN_S):
            seen = 0
            while seen < 20:  # both have heard of it
                seen = seen + 1 if "10.0.0.1" not in addresses(await ask(server)) else 0
        await until(lambda: server.stats().resolver.ready_hits > 60)


async def test_what_is_not_ready_is_the_agents_business(catalog: Catalog) -> None:
    async with served(catalog, 1) as server:
        for name in ("never.service.consul.", "www.example."):
            for _ in range(2):
                message = await ask(server, name)
                assert message.rcode() in {dns.rcode.NXDOMAIN, dns.rcode.REFUSED}
        catalog.remote = True
        assert len(addresses(await ask(server, "node-1.node.consul."))) == 1


async def test_a_reload_reaches_the_workers(catalog: Catalog) -> None:
    async with served(catalog) as server:
        assert len(addresses(await ask(server))) == 3
        config = DnsConfig(workers=2, a_record_limit=1)
        server.reload(AgentConfig(node_name="n", dns=config))
        async with asyncio.timeout(WITHIN_S):
            seen = 0
            while seen < 10:
                seen = seen + 1 if len(addresses(await ask(server))) == 1 else 0


async def test_a_worker_that_dies_comes_back_and_all_end_with_the_face(catalog: Catalog) -> None:
    async with served(catalog) as server:
        before = children()
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        await until(lambda: server.stats().workers.started == 3)
        await until(lambda: server.stats().workers.running_current == 2)
        async with asyncio.timeout(WITHIN_S):
            while True:
                with contextlib.suppress(dns.exception.DNSException, OSError):
                    if addresses(await ask(server)):
                        break
    await until(lambda: not children())
