"""Hosts with real local agents over a real catalog, on clocks that are set forward by hand.

The world does what operators, applications and networks do to hosts, and knows what a person who
saw all of it would expect to be registered. Agents are killed between two turns of the event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from agent.backend import Reply
from agent.config.schema import AgentConfig
from agent.definitions import CheckDefinition, ServiceDefinition
from agent.errors import NoServers
from agent.leader.reconcile import plan
from agent.local.agent import LocalAgent
from gossip import MemberStatus
from raftstore.commands import Command, Deregister, Outcome, Register
from raftstore.records import (
    CONSUL_SERVICE,
    SERF_HEALTH,
    Actor,
    CheckId,
    Node,
    NodeId,
    NodeName,
    Service,
    ServiceId,
    ServiceName,
)
from tests.agent.leader.members import member
from tests.agent.leader.test_reconcile import view
from tests.agent.local.parts import Catalog, until

SERVICES = ("web", "db", "mail")
#: Two periods of anti-entropy, the longer of each.
TWO_PERIODS_S = 240.0
STEPS_OF_TWO_PERIODS = 24


class TimedCatalog(Catalog):
    """Commands have the world's time and whoever asked for them."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now

    def write(self, command: Command, actor: Actor) -> Outcome:
        outcome = self.machine.apply(self.machine.index + 1, self._now(), command, None, actor)
        self.machine.check()
        return outcome


class Way:
    """One agent's way to the catalog; it can be cut."""

    def __init__(self, catalog: TimedCatalog, host: Host) -> None:
        self._catalog = catalog
        self._host = host

    async def change(
        self, command: Command, *, actor: Actor | None = None, timeout_s: float | None = None
    ) -> Outcome:
        await asyncio.sleep(0)
        if self._host.cut_off:
            raise NoServers
        return self._catalog.write(command, actor or Actor(node=self._host.name))

    async def ask(self, query: Any, options: Any = None) -> Reply[Any]:
        await asyncio.sleep(0)
        if self._host.cut_off:
            raise NoServers
        return await self._catalog.ask(query, options)


class Host:
    """A machine. ``wanted`` is what a person expects it to run."""

    def __init__(self, world: World, number: int, folder: Path) -> None:
        self._world = world
        self.address = f"10.0.0.{number}"
        self.folder = folder / f"h{number}"
        self.name = NodeName(f"h{number}")
        self.node_id = world.fresh_id()
        self.cut_off = False
        self.agent: LocalAgent | None = None
        self.wanted: dict[str, int] = {}
        self.asked_at: dict[str, float] = {}
        #: Removed through the catalog; this host may not have heard of it.
        self.unheard: set[str] = set()

    def node(self) -> Node:
        return Node(name=self.name, id=self.node_id, address=self.address, datacenter="dc1")

    async def start(self) -> None:
        self._set_file_times()
        self.folder.mkdir(exist_ok=True)
        self.agent = LocalAgent(
            AgentConfig(node_name=self.name, data_dir=str(self.folder)),
            Way(self._world.catalog, self),  # type: ignore[arg-type]
            node=self.node,
            members=lambda: 3,
            rng=random.Random(self._world.rng.random()),
            clock=lambda: time.monotonic() + self._world.skew,
            unix_clock=self._world.now,
        )
        await self.agent.start()

    def _set_file_times(self) -> None:
        """The disk keeps real time, the world its own."""
        for name, at in self.asked_at.items():
            path = self.folder / "services" / hashlib.sha256(name.encode()).hexdigest()
            if path.exists():
                os.utime(path, (at, at))

    async def kill(self) -> None:
        if self.agent is not None:
            await self.agent.stop()
            self.agent = None

    def local(self) -> dict[str, int]:
        assert self.agent is not None
        return {key: service.port for key, service in self.agent.services().items()}


class World:
    """Everything that happens comes from one seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.skew = 0.0
        self.catalog = TimedCatalog(self.now)
        self.hosts = [Host(self, number, folder) for number in range(1, 4)]
        self.story: list[str] = []

    def now(self) -> float:
        return time.time() + self.skew

    def fresh_id(self) -> NodeId:
        return NodeId(str(uuid.UUID(int=self.rng.getrandbits(128), version=4)))

    async def run(self, steps: int) -> None:
        for host in self.hosts:
            await host.start()
        self.reconcile()
        for _ in range(steps):
            step = self.rng.choice(self._steps())
            host = self.rng.choice(self.hosts)
            self.story.append(f"{self.skew:.0f} {step.__name__} {host.name}")
            await step(host)
            await self.pass_time(self.rng.choice([0.0, 1.0, 20.0, 130.0]))
        await self.settle()

    def _steps(self) -> list[Callable[[Host], Awaitable[None]]]:
        return [
            self.register, self.register, self.register, self.register_check,
            self.deregister, self.deregister_in_catalog, self.deregister_node, self.plant_ghost,
            self.kill, self.restart, self.reinstall, self.rename, self.cut, self.heal,
            self.leave,
        ]  # fmt: skip

    # ---- what may happen ----

    async def register(self, host: Host) -> None:
        name, port = self.rng.choice(SERVICES), self.rng.choice([80, 81])
        if host.agent is None:
            return
        checks = (CheckDefinition(ttl_s=3600.0, status="passing"),)
        definition = ServiceDefinition(name=ServiceName(name), port=port, checks=checks)
        await host.agent.register_service(definition)
        host.wanted[name] = port
        host.asked_at[name] = self.now()
        host.unheard.discard(name)

    async def register_check(self, host: Host) -> None:
        if host.agent is None:
            return
        check = CheckDefinition(name=self.rng.choice(["disk", "load"]), ttl_s=3600.0)
        if self.rng.random() < 0.5:
            await host.agent.register_check(check)
        else:
            await host.agent.deregister_check(CheckId(check.name))

    async def deregister(self, host: Host) -> None:
        name = self.rng.choice(SERVICES)
        if host.agent is None:
            return
        await host.agent.deregister_service(ServiceId(name))
        host.wanted.pop(name, None)

    async def deregister_in_catalog(self, host: Host) -> None:
        """A request to any other agent; it counts if the catalog knew the service."""
        name = self.rng.choice(SERVICES)
        known = self.catalog.services(host.name).get(ServiceId(name))
        command = Deregister(node=host.name, service_id=ServiceId(name))
        self.catalog.write(command, Actor(address="10.9.9.9:40000", node="other"))
        # What was asked for a moment ago, or not told yet, may have come later than the removal.
        recent = self.now() - host.asked_at.get(name, 0.0) < 10.0
        if known is None:
            return
        if recent or known.port != host.wanted.get(name):
            host.wanted[name] = -1  # either is right
        else:
            host.wanted.pop(name, None)
            host.unheard.add(name)

    async def deregister_node(self, host: Host) -> None:
        """Somebody removes a whole node: a living agent tells about itself again."""
        self.catalog.write(
            Deregister(node=host.name), Actor(address="10.9.9.9:40000", node="other")
        )
        self.reconcile()

    async def plant_ghost(self, host: Host) -> None:
        """Somebody writes under the name of a host."""
        if self.catalog.node(host.name) is None:
            return
        ghost = Service(node=host.name, id=ServiceId("ghost"), name=ServiceName("ghost"))
        command = Register(node=host.node(), service=ghost, skip_node_update=True)
        self.catalog.write(command, Actor(address="10.9.9.9:40000", node="other"))

    async def kill(self, host: Host) -> None:
        await host.kill()
        self.reconcile()

    async def restart(self, host: Host) -> None:
        await host.kill()
        await host.start()
        self.reconcile()

    async def leave(self, host: Host) -> None:
        """Gracefully: the leader removes the node, and its files stay."""
        await host.kill()
        self.reconcile(left=host)

    async def reinstall(self, host: Host) -> None:
        """The disk is new; name and address stay. Nothing is registered any more."""
        await host.kill()
        shutil.rmtree(host.folder)
        host.node_id = self.fresh_id()
        host.wanted.clear()
        host.asked_at.clear()
        host.unheard.clear()
        await host.start()
        self.reconcile()

    async def rename(self, host: Host) -> None:
        await host.kill()
        # The journal tells of the old name.
        host.wanted.update(dict.fromkeys(host.unheard, -1))
        host.name = NodeName(f"{host.name.partition('-')[0]}-{len(self.story)}")
        await host.start()
        self.reconcile()

    async def cut(self, host: Host) -> None:
        host.cut_off = True
        self.reconcile()

    async def heal(self, host: Host) -> None:
        host.cut_off = False
        self.reconcile()

    # ---- time ----

    async def pass_time(self, seconds: float) -> None:
        self.skew += seconds
        for host in self.hosts:
            if host.agent is not None and host.agent._syncer is not None:
                host.agent._syncer._wake.set()
        for _ in range(20):
            await asyncio.sleep(0)

    def reconcile(self, left: Host | None = None) -> None:
        """The leader's walk, as often as it has something to do; gossip knows the truth at once."""
        for _ in range(4):
            members = [
                member(
                    host.name,
                    MemberStatus.LEFT
                    if host is left
                    else MemberStatus.ALIVE
                    if host.agent is not None and not host.cut_off
                    else MemberStatus.FAILED,
                    id_=host.node_id,
                    address=host.address,
                )
                for host in self.hosts
            ]
            gone = {name.lower(): float("-inf") for name in view(self.catalog).nodes}
            planned = plan(
                members,
                view(self.catalog),
                own_name=NodeName("leader"),
                datacenter="dc1",
                absent_since=gone,
                now=self.now(),
            )
            for decision in planned.decisions:
                self.catalog.write(decision.command, Actor(node="leader"))
            if not planned.decisions:
                return

    async def settle(self) -> None:
        """All faults are over; two periods pass."""
        for host in self.hosts:
            host.cut_off = False
            if host.agent is None:
                await host.start()
        self.reconcile()
        seen = [h.agent.stats().full_syncs for h in self.hosts if h.agent is not None]
        for _ in range(STEPS_OF_TWO_PERIODS):
            await self.pass_time(TWO_PERIODS_S / STEPS_OF_TWO_PERIODS)
            await until(self._nothing_is_due, within_s=30.0)  # real time is of no account
            self.reconcile()
        await until(
            lambda: all(
                h.agent is not None
                and h.agent.stats().full_syncs >= before + 2
                and h.agent._live.state.in_sync
                for h, before in zip(self.hosts, seen, strict=True)
            ),
            within_s=30.0,
        )

    def _nothing_is_due(self) -> bool:
        now = time.monotonic() + self.skew
        return all(
            h.agent is not None
            and h.agent._syncer is not None
            and h.agent._syncer._full.deadline > now
            for h in self.hosts
        )

    async def close(self) -> None:
        for host in self.hosts:
            await host.kill()

    # ---- what must be so ----

    def check(self) -> None:
        """The catalog is what the owners say, and the owners say what was asked for."""
        names = {host.name.lower() for host in self.hosts}
        assert set(view(self.catalog).nodes) == names
        for host in self.hosts:
            assert host.agent is not None
            told = {
                key: service.port
                for key, service in self.catalog.services(host.name).items()
                if key != CONSUL_SERVICE
            }
            checks = {
                key: check.status
                for key, check in self.catalog.checks(host.name).items()
                if key != SERF_HEALTH
            }
            here = {key: check.status for key, check in host.agent.checks().items()}
            unsure = {name for name, port in host.wanted.items() if port < 0}
            sure = {name: port for name, port in host.wanted.items() if port >= 0}
            for what, found, expected in (
                ("services", told, host.local()),
                ("checks", checks, here),
                ("wanted", {k: v for k, v in told.items() if k not in unsure}, sure),
            ):
                assert found == expected, f"{what} of {host.name}: {found} {expected} {self.story}"
