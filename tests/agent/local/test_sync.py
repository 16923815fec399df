"""Rounds of anti-entropy against the real state machine."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import replace

import pytest

from agent.definitions import CheckDefinition
from agent.errors import NoClusterLeader, NoServers, RequestError
from agent.local.services import LocalCheck, LocalService
from agent.local.sync import Syncer
from raftstore.commands import Deregister, Register
from raftstore.errors import ProposalTimeout
from raftstore.records import (
    SERF_HEALTH,
    Check,
    CheckId,
    Node,
    NodeId,
    Service,
    ServiceId,
    ServiceName,
)
from tests.agent.local.parts import HOST, NODE, Catalog, local_state, until


class Host:
    """Local state with its syncer, on a clock that can be set forward."""

    def __init__(self) -> None:
        self.catalog = Catalog()
        self.state = local_state()
        self.skew = 0.0
        self.node = NODE
        self.syncer = Syncer(
            self.state,
            self.catalog,
            node=lambda: self.node,
            members=lambda: 3,
            rng=random.Random(1),
            clock=lambda: time.monotonic() + self.skew,
        )
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.syncer.run())

    def add(self, name: str, port: int = 0) -> None:
        record = Service(node=HOST, id=ServiceId(name), name=ServiceName(name), port=port, meta={})
        self.state.register(LocalService(record=record))
        self.syncer.changed()

    def later(self, seconds: float) -> None:
        """Time passes; the loop looks at the clock."""
        self.skew += seconds
        self.syncer._wake.set()


@pytest.fixture
async def host():
    host = Host()
    yield host
    if host.task is not None:
        host.task.cancel()
        await asyncio.gather(host.task, return_exceptions=True)


async def test_the_start_brings_the_node_and_what_is_registered(host, caplog) -> None:
    caplog.set_level(logging.INFO, "lictor")
    host.add("web")
    host.start()
    assert await host.syncer.covered(5.0)
    assert host.catalog.node().meta == NODE.meta
    assert "web" in host.catalog.services()
    texts = [f"{r.name.removeprefix('lictor.')}: {r.getMessage()}" for r in caplog.records]
    assert "agent: Synced node info" in texts
    assert "agent: Synced service: service=web" in texts


async def test_a_change_is_told_at_once_and_only_it(host) -> None:
    host.add("web")
    host.start()
    await host.syncer.covered(5.0)
    host.catalog.commands.clear()
    host.add("db")
    assert await host.syncer.covered(5.0)
    (change,) = host.catalog.commands
    assert change.service.id == "db" and change.skip_node_update
    assert host.syncer.stats.full_syncs == 1


async def test_changes_during_a_write_are_gathered(host) -> None:
    host.start()
    await host.syncer.covered(5.0)
    await until(lambda: host.state.node_in_sync)
    host.catalog.gate = asyncio.Event()
    host.add("web")
    await until(lambda: host.syncer.stats.partial_syncs == 1)
    for port in range(1, 50):
        host.add("web", port)
    host.catalog.gate.set()
    assert await host.syncer.covered(5.0)
    assert host.catalog.services()["web"].port == 49
    assert host.syncer.stats.partial_syncs == 2


@pytest.mark.parametrize("error", [NoServers(), NoClusterLeader(), ProposalTimeout("?")])
async def test_without_servers_the_caller_goes_on_and_the_change_follows(host, error) -> None:
    host.catalog.error = error
    host.add("web")
    host.start()
    assert not await host.syncer.covered(5.0)
    assert not host.state.in_sync
    host.catalog.error = None
    failures = host.syncer.stats.sync_failures
    host.later(31.0)  # the retry comes within 15 to 30 s
    await until(lambda: host.state.in_sync)
    assert host.syncer.stats.sync_failures == failures
    assert "web" in host.catalog.services()


async def test_a_failed_sync_is_not_tried_again_before_its_time(host) -> None:
    host.catalog.error = NoServers()
    host.start()
    await until(lambda: host.syncer.stats.sync_failures == 1)
    for _ in range(10):
        host.later(1.0)
        await asyncio.sleep(0)
    host.catalog.error = None
    await asyncio.sleep(0)
    assert host.syncer.stats.full_syncs == 0
    host.syncer.trigger_full()
    await until(lambda: host.state.node_in_sync)


async def test_a_caller_waits_no_longer_than_it_wants(host) -> None:
    host.start()
    await until(lambda: host.state.node_in_sync)
    host.catalog.gate = asyncio.Event()
    host.add("web")
    started = time.monotonic()
    assert not await host.syncer.covered(0.05)
    assert time.monotonic() - started < 5.0
    host.catalog.gate.set()
    await until(lambda: host.state.in_sync)


async def test_foreign_edits_come_back_with_the_next_full_sync(host) -> None:
    host.add("web", 1)
    host.start()
    await host.syncer.covered(5.0)
    ghost = Service(id=ServiceId("ghost"), name=ServiceName("ghost"))
    host.catalog.register(Deregister(node=HOST, service_id=ServiceId("web")))
    host.catalog.register(Register(node=replace(NODE, meta={}), service=ghost))
    host.catalog.register(Register(node=NODE, checks=(Check(id=SERF_HEALTH, status="passing"),)))
    host.later(121.0)
    await until(lambda: host.syncer.stats.full_syncs == 2 and host.state.in_sync)
    assert set(host.catalog.services()) == {"web"}
    assert set(host.catalog.checks()) == {SERF_HEALTH}
    assert host.catalog.node().meta == NODE.meta


async def test_held_output_is_told_when_its_time_comes(host) -> None:
    record = Check(node=HOST, id=CheckId("c"), status="passing", output="old")
    host.state.put_check(LocalCheck(record=record, definition=CheckDefinition()), 0.0)
    host.start()
    await until(lambda: host.catalog.checks().get("c"))
    host.state.update_check(CheckId("c"), "passing", "new", host.syncer._now())
    host.syncer.changed()
    await host.syncer.covered(5.0)
    assert host.catalog.checks()["c"].output == "old"
    host.later(451.0)
    await until(lambda: host.catalog.checks()["c"].output == "new")


async def test_a_refusal_by_the_catalog_is_tried_again_later(host) -> None:
    other = Node(name=HOST, id=NodeId("22222222-2222-2222-2222-222222222222"), address="10.9.9.9")
    healthy = Check(id=SERF_HEALTH, status="passing")
    host.catalog.register(Register(node=other, checks=(healthy,)))
    host.add("web")
    host.start()
    assert not await host.syncer.covered(5.0)
    assert host.catalog.services() == {}
    host.catalog.register(Deregister(node=HOST))
    host.later(31.0)
    await until(lambda: host.state.in_sync)
    assert "web" in host.catalog.services()


async def test_one_bad_entry_does_not_keep_back_the_others(host) -> None:
    host.start()
    await until(lambda: host.state.node_in_sync)
    # A check of a service that the catalog does not have, and cannot get in this round.
    host.add("web")
    await host.syncer.covered(5.0)
    record = Check(node=HOST, id=CheckId("bad"), service_id=ServiceId("web"))
    host.state.put_check(LocalCheck(record=record, definition=CheckDefinition()), 0.0)
    host.catalog.register(Deregister(node=HOST, service_id=ServiceId("web")))
    good = Check(node=HOST, id=CheckId("good"))
    host.state.put_check(LocalCheck(record=good, definition=CheckDefinition()), 0.0)
    host.state.remove_check(CheckId("none"))
    host.syncer.changed()
    assert not await host.syncer.covered(5.0)
    assert "good" in host.catalog.checks()
    host.later(31.0)  # the full sync finds the service missing
    await until(lambda: host.state.in_sync)
    assert {"good", "bad"} == set(host.catalog.checks())


async def test_what_is_forbidden_keeps_nothing_else_back_and_is_tried_again_later(host) -> None:
    allowed = host.catalog.change

    async def guarded(change, **options):
        if isinstance(change, Register) and change.service and change.service.name == "secret":
            raise RequestError(403, "Permission denied")
        return await allowed(change, **options)

    host.catalog.change = guarded
    host.add("secret")
    host.add("web")
    host.start()
    assert await host.syncer.covered(5.0)
    assert set(host.catalog.services()) == {"web"} and host.state.in_sync
    host.catalog.change = allowed
    host.later(200.0)
    await until(lambda: "secret" in host.catalog.services())
