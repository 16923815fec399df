"""No ghosts on real processes: whatever is done to hosts and services, by whichever endpoint, the
catalog agrees with the owners within two periods of anti-entropy.

Each sequence is the fate of one service or check: a few steps drawn from a seed. Sequences of one
round are carried out together, so that what happens to a host meets all its services at once.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import AgentProcess, Cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(7200)]

ROUNDS = int(os.environ.get("GHOST_ROUNDS", "10"))
SEQUENCES = int(os.environ.get("GHOST_SEQUENCES", "20"))
STEPS = 4
#: Two periods of anti-entropy, the longer of each.
TWO_PERIODS_S = 240.0
OWNERS = 3
#: What an agent allows for differences between clocks, and a little more.
CLOCKS_S = 6.0


@dataclass
class Fate:
    """One service, or check of a host: whose it is, and whether somebody who saw everything expects
    it."""

    id: str
    owner: AgentProcess
    check: bool = False
    wanted: bool = False
    version: int = 0
    asked_at: float = 0.0
    #: It is wanted again just as it was; the catalog learns so by the next comparison only.
    untold: bool = False
    said: list[str] = field(default_factory=list)

    def body(self) -> dict[str, Any]:
        ttl = {"TTL": "1h", "Status": "passing"}
        if self.check:
            return {"ID": self.id, "Name": self.id, "Notes": str(self.version), **ttl}
        meta = {"version": str(self.version)}
        return {"ID": self.id, "Name": "web", "Meta": meta, "Check": ttl}


class World:
    """A server, agents that own services, and what is done to them."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self.cluster = cluster
        self.rng = rng
        self.server = cluster.add("s1", "-server", "-bootstrap-expect=1").ready(60)
        self.owners = [cluster.add(f"c{n}").ready(60) for n in range(OWNERS)]
        self.fates: list[Fate] = []

    # What is done to a service or check

    def register(self, fate: Fate) -> None:
        fate.version += 1
        fate.untold = False
        self._ask_for(fate)

    def register_as_it_was(self, fate: Fate) -> None:
        """Nothing is new, but somebody asks."""
        fate.untold = fate.untold or not fate.wanted
        self._ask_for(fate)

    def _ask_for(self, fate: Fate) -> None:
        kind = "check" if fate.check else "service"
        fate.owner.put(f"/v1/agent/{kind}/register", fate.body(), timeout_s=60)
        fate.wanted, fate.asked_at = True, time.monotonic()

    def deregister(self, fate: Fate) -> None:
        kind = "check" if fate.check else "service"
        path = f"/v1/agent/{kind}/deregister/{fate.id}"
        answer = fate.owner.request("PUT", path, timeout_s=60)
        assert answer.status == (200 if fate.wanted else answer.status), answer
        fate.wanted = fate.untold = False

    def deregister_elsewhere(self, fate: Fate) -> None:
        """Through the catalog, asked of any agent; only what the catalog has can be taken away, and
        clocks are given their slack."""
        where = self.rng.choice([self.server, *self.owners])
        if fate.untold:
            self.deregister(fate)
            return
        if fate.wanted:
            eventually(
                lambda: self.told(fate.owner).get(fate.id) == str(fate.version),
                within_s=TWO_PERIODS_S,
                what="it is told",
            )
            time.sleep(max(0.0, CLOCKS_S - (time.monotonic() - fate.asked_at)))
        body = {"Node": fate.owner.name, "CheckID" if fate.check else "ServiceID": fate.id}
        where.put("/v1/catalog/deregister", body, timeout_s=60)
        fate.wanted = False

    # What is done to a host

    def kill(self, owner: AgentProcess) -> None:
        owner.kill()
        owner.start().ready(90)

    def stop(self, owner: AgentProcess) -> None:
        """It leaves, and comes back with all it had."""
        owner.signal(signal.SIGTERM)
        owner.wait(60)
        owner.start().ready(90)

    def reinstall(self, owner: AgentProcess) -> None:
        """Another machine under the same name: what was registered by requests is gone."""
        owner.kill()
        shutil.rmtree(owner.folder / "data")
        owner.start().ready(90)
        for fate in self.fates:
            if fate.owner is owner:
                fate.wanted = fate.untold = False

    def rename(self, owner: AgentProcess) -> None:
        owner.kill()
        owner.name = f"{owner.name.partition('-')[0]}-{self.rng.randrange(1000)}"
        owner.start().ready(90)

    def freeze(self, owner: AgentProcess) -> None:
        """Nobody hears of it, long enough to be taken for dead."""
        owner.signal(signal.SIGSTOP)
        time.sleep(12)
        owner.signal(signal.SIGCONT)
        owner.ready(90)

    def lose_servers(self, owner: AgentProcess) -> None:
        """The servers are away while a service comes or goes."""
        self.server.signal(signal.SIGSTOP)
        time.sleep(1)
        self.server.signal(signal.SIGCONT)
        owner.ready(90)

    # What there is

    def told(self, owner: AgentProcess) -> dict[str, str]:
        """What the catalog has for a host, and in which version; checks of services aside."""
        found = self.server.get(f"/v1/catalog/node/{owner.name}").json or {"Services": {}}
        checks = self.server.get(f"/v1/health/node/{owner.name}").json
        return {
            name: each["Meta"].get("version", "") for name, each in found["Services"].items()
        } | {
            each["CheckID"]: each["Notes"]
            for each in checks
            if not each["ServiceID"] and each["CheckID"] != "serfHealth"
        }

    def differences(self) -> list[Any]:
        found: list[Any] = []
        for owner in self.owners:
            mine = {fate.id for fate in self.fates if fate.owner is owner and fate.wanted}
            services = owner.get("/v1/agent/services").json
            own_checks = owner.get("/v1/agent/checks").json
            here = set(services) | {k for k, c in own_checks.items() if not c["ServiceID"]}
            checked = {
                check["ServiceID"]
                for check in self.server.get(f"/v1/health/node/{owner.name}").json
                if check["ServiceID"]
            }
            told = set(self.told(owner))
            if not (mine == here == told and checked == set(services)):
                found.append((owner.name, mine ^ here, here ^ told, checked ^ set(services)))
        names = {each["Node"] for each in self.server.get("/v1/catalog/nodes").json}
        alive = {owner.name for owner in self.owners} | {"s1"}
        lost = {
            each["ServiceID"]
            for each in self.server.get("/v1/catalog/service/web").json
            if each["Node"] not in alive
        }
        return found + ([("nobody's", names - alive, lost)] if lost else [])


def test_the_catalog_agrees_with_the_owners(tmp_path: Path) -> None:
    seed = int(os.environ.get("GHOST_SEED", time.time_ns() % 10**9))
    print(f"GHOST_SEED={seed}")
    rng = random.Random(seed)
    cluster = Cluster(tmp_path)
    try:
        world = World(cluster, rng)
        to_hosts = (world.kill, world.stop, world.reinstall, world.rename, world.freeze,
                    world.lose_servers)  # fmt: skip
        to_services = (world.register, world.register, world.register_as_it_was,
                       world.deregister, world.deregister_elsewhere)  # fmt: skip
        for number in range(ROUNDS):
            world.fates += [
                Fate(f"w{number}-{n}", rng.choice(world.owners), check=n % 4 == 0)
                for n in range(SEQUENCES)
            ]
            mine = world.fates[-SEQUENCES:]
            for _ in range(STEPS):
                for fate in mine:
                    step = rng.choice(to_services)
                    fate.said.append(step.__name__)
                    step(fate)
                rng.choice(to_hosts)(rng.choice(world.owners))
            fates = [(fate.id, fate.owner.name, fate.wanted, fate.said) for fate in mine]
            agrees = lambda: not world.differences()  # noqa: E731
            try:
                eventually(agrees, within_s=TWO_PERIODS_S)
            except AssertionError:
                raise AssertionError((seed, number, world.differences(), fates)) from None
    finally:
        cluster.stop()
