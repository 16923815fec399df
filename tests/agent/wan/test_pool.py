"""Servers of two datacenters on real sockets: one is joined, the neighbours follow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from agent.explain.datacenters import explain_datacenters
from agent.tasks import TaskOwner
from agent.wan.members import wan_objection
from agent.wan.pool import WanPool
from gossip import Member, MemberStatus
from tests.agent.wan.test_members import member
from tests.gossip.rings import Watched, eventually, quick


class Place:
    """One datacenter: what its own pool would know, and its servers' members of the other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lan: list[Member] = []
        self.pools: list[WanPool] = []
        self.owner = TaskOwner()
        self.tasks: list[asyncio.Task[None]] = []

    async def add(self, node: str) -> WanPool:
        tags = {"role": "consul", "dc": self.name, "port": "8300", "id": f"{node}-{self.name}"}
        # In so small a ring a broadcast misses somebody now and then: exchanges mend that.
        more = {"push_pull_interval_s": 0.5, "probe_interval_s": 1.0, "probe_timeout_s": 0.5}
        name = f"{node}.{self.name}"
        config = quick(name, tags=tags, admits=wan_objection, **more)
        pool = WanPool(config, node=node, datacenter=self.name, lan=lambda: self.lan)
        await pool.start()
        port = pool.local_member().port
        self.lan.append(member(node, "127.0.0.1", dc=self.name, wan_join_port=str(port)))
        self.pools.append(pool)
        self.tasks.append(self.owner.spawn(pool.keep_joined(), name="keep joined"))
        for each in self.pools:
            each.lan_changed()
        return pool


@contextlib.asynccontextmanager
async def places(*names: str) -> AsyncIterator[list[Place]]:
    made = [Place(name) for name in names]
    try:
        yield made
    finally:
        for place in made:
            await place.owner.close()
            for pool in place.pools:
                await pool.stop()


def alive(pool: WanPool) -> list[str]:
    return sorted(m.name for m in pool.members() if m.status is MemberStatus.ALIVE)


async def test_one_join_is_enough_for_all_servers() -> None:
    async with places("east", "west") as (east, west):
        pools = [await east.add("s1"), await east.add("s2"), await west.add("s1")]
        here = pools[2].local_member()
        assert (await pools[0].join([f"127.0.0.1:{here.port}"])).joined == 1
        await west.add("s2")
        names = ["s1.east", "s1.west", "s2.east", "s2.west"]
        for pool in (*east.pools, *west.pools):
            await eventually(lambda pool=pool: alive(pool) == names, "all see all")  # type: ignore[misc]
            assert sorted(pool.datacenters()) == ["east", "west"]
            assert pool.missing() == ()
        shown = explain_datacenters(pools[0], "east")
        assert isinstance(shown, dict)
        assert shown["Pool"] == "running"


async def test_who_is_no_server_is_told_so_and_stays_out() -> None:
    async with places("east") as (east,):
        pool = await east.add("s1")
        stranger = Watched(quick("n1.east", tags={"role": "node", "dc": "east"}))
        await stranger.gossip.start()
        try:
            outcome = await pool.join([stranger.address])
            assert outcome.joined == 0
            assert "is not a server" in outcome.errors[0][1]
            await stranger.gossip.join([f"127.0.0.1:{pool.local_member().port}"])
            await eventually(lambda: pool.explain("n1.east") is not None, "the refusal is kept")
            assert alive(pool) == ["s1.east"]
        finally:
            await stranger.gossip.stop()


async def test_a_failed_server_is_made_left_by_either_name() -> None:
    async with places("east") as (east,):
        pool, other = await east.add("s1"), await east.add("s2")
        await eventually(lambda: len(alive(pool)) == 2, "joined")
        assert not pool.force_leave("nobody")
        await east.owner.close()
        await other.stop()

        def others() -> list[MemberStatus]:
            return [m.status for m in pool.members() if m.name == "s2.east"]

        await eventually(lambda: others() == [MemberStatus.FAILED], "it has failed")
        assert pool.force_leave("s2")
        assert others() == [MemberStatus.LEFT]
        assert pool.force_leave("s2.east", prune=True)
        await eventually(lambda: others() == [], "it is forgotten")
