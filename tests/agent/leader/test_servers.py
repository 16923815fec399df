"""Real servers in one process, looked after by the one that leads; gossip is a list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from agent.backend.operations import Operations
from agent.errors import RequestError
from agent.leader.autopilot import Seen, Standing
from agent.leader.servers import ServersKeeper, ensure_config
from agent.tasks import TaskOwner
from raftstore.commands import KVSet, SetAutopilot
from raftstore.queries import GetAutopilot, KVGet
from raftstore.records import AutopilotConfig
from tests.agent.backend.servers import Server, until

#: Contact is judged generously: the machine that runs this has other things to do.
FAST = AutopilotConfig(last_contact_threshold_s=5.0, server_stabilization_time_s=0.3)


class Ring:
    """Some servers, what gossip would say of them, and a keeper for each."""

    def __init__(self) -> None:
        self.servers: dict[str, Server] = {}
        self.seen: dict[str, Seen] = {}
        self.keepers: dict[str, ServersKeeper] = {}
        self.forgotten: list[str] = []
        self._owner = TaskOwner()

    async def add(self, name: str) -> Server:
        server = self.servers[name] = Server(name)
        await server.start()
        self.seen[name] = Seen(
            node_id=name, name=f"n-{name}", address=server.address, standing=Standing.ALIVE
        )
        for one in self.servers.values():
            for other in self.servers.values():
                host, port = other.port.address
                one.store.set_address(other.name, host, port)
        keeper = self.keepers[name] = ServersKeeper(
            server.store,
            own_id=name,
            seen=lambda: tuple(self.seen.values()),
            heartbeat_s=server.store.heartbeat_s,
            forget=self.forgotten.append,
        )
        server.backend.leader_methods = keeper.methods
        self._owner.spawn(self._keep(name), name=f"keep {name}")
        return server

    async def _keep(self, name: str) -> None:
        """What agent/leader/duties.py does: run the keeper while its server leads."""
        running: asyncio.Task[None] | None = None
        while name in self.servers:
            leads = self.servers[name].store.is_leader
            if leads and running is None:
                running = self._owner.spawn(self.keepers[name].run(), name=f"keeper {name}")
            elif not leads and running is not None:
                running.cancel()
                running = None
            await asyncio.sleep(0.01)
        if running is not None:
            running.cancel()

    async def lose(self, name: str, standing: Standing) -> None:
        self.seen[name] = replace(self.seen[name], standing=standing)
        await self.servers.pop(name).stop()

    @property
    def leader(self) -> Server:
        return next(s for s in self.servers.values() if s.store.is_leader)

    def voters(self) -> set[str]:
        leaders = [s for s in self.servers.values() if s.store.is_leader]
        members = leaders[0].store.status().members if leaders else ()
        return {node_id for node_id, _, votes in members if votes}

    async def stop(self) -> None:
        for server in list(self.servers.values()):
            await server.stop()
        self.servers.clear()
        await self._owner.close()


@pytest.fixture
async def ring(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ring]:
    # What is asserted is what is done, not how often somebody looks.
    monkeypatch.setattr("agent.leader.servers.LOOK_INTERVAL_S", 0.1)
    made = Ring()
    first = await made.add("a")
    first.store.bootstrap({"a": first.address})
    await until(lambda: first.store.is_leader)
    await ensure_config(first.backend.change, FAST)
    try:
        yield made
    finally:
        await made.stop()


async def grown(ring: Ring) -> None:
    for name in ("b", "c"):
        await ring.add(name)
        ring.keepers["a"].member_changed()
    await until(lambda: ring.voters() == {"a", "b", "c"}, within_s=30)


async def test_one_server_grows_to_three_that_hold_everything(ring: Ring) -> None:
    await ring.leader.store.propose(KVSet(key="before", value=b"1"))
    await grown(ring)
    for server in ring.servers.values():
        await until(lambda s=server: s.store.answer(KVGet("before")).value is not None)
    stats = ring.keepers["a"].stats
    assert (stats.added, stats.promoted, stats.removed) == (2, 2, 0)


async def test_the_first_configuration_of_a_cluster_is_written_once(ring: Ring) -> None:
    await ensure_config(ring.leader.backend.change, AutopilotConfig(min_quorum=9))
    assert ring.leader.store.answer(GetAutopilot()).value.min_quorum == 0


async def test_a_server_that_left_is_taken_out_at_once(ring: Ring) -> None:
    await grown(ring)
    await ring.lose("c", Standing.LEFT)
    ring.keepers["a"].member_changed()
    await until(lambda: ring.voters() == {"a", "b"}, within_s=5)
    assert ring.forgotten == []


async def test_a_failed_server_is_taken_out_and_gossip_told(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.leader.autopilot.DEAD_GRACE_S", 0.5)
    monkeypatch.setattr("agent.leader.autopilot.RAFT_ALIVE_S", 1.0)
    await grown(ring)
    await ring.lose("c", Standing.FAILED)
    await until(lambda: ring.voters() == {"a", "b"}, within_s=20)
    await until(lambda: ring.forgotten == ["n-c"])


async def test_nothing_is_taken_out_when_cleaning_up_is_off(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.leader.autopilot.DEAD_GRACE_S", 0.1)
    monkeypatch.setattr("agent.leader.autopilot.RAFT_ALIVE_S", 0.5)
    await grown(ring)
    config = replace(FAST, cleanup_dead_servers=False)
    await ring.leader.backend.change(SetAutopilot(config=config))
    await ring.lose("c", Standing.FAILED)
    keeper = ring.keepers["a"]
    await until(lambda: "is off" in keeper.state().waiting.get("c", ""), within_s=20)
    assert ring.voters() == {"a", "b", "c"}


async def test_an_operator_asks_any_server(ring: Ring) -> None:
    await grown(ring)
    follower = Operations(ring.servers["b"].backend)
    state = await follower.autopilot_state()
    assert (state.leader, state.failure_tolerance) == ("a", 1)
    assert {s.node_id for s in state.servers if s.voter and s.healthy} == {"a", "b", "c"}
    with pytest.raises(RequestError, match='id "x" was not found in the Raft configuration'):
        await follower.remove_server(node_id="x")
    with pytest.raises(RequestError, match='id "x" was not found in the Raft configuration'):
        await follower.transfer_leadership("x")
    ring.seen["c"] = replace(ring.seen["c"], standing=Standing.LEAVING)
    await follower.remove_server(address=ring.servers["c"].address)
    assert ring.voters() == {"a", "b"}


async def test_leadership_is_handed_to_the_server_that_was_named(ring: Ring) -> None:
    await grown(ring)
    await Operations(ring.servers["b"].backend).transfer_leadership("c")
    await until(lambda: ring.servers["c"].store.is_leader, within_s=5)
    assert not ring.servers["a"].store.is_leader


async def test_a_leader_that_is_to_be_removed_hands_over_first(ring: Ring) -> None:
    await grown(ring)
    ring.seen["a"] = replace(ring.seen["a"], standing=Standing.LEAVING)
    await Operations(ring.servers["b"].backend).remove_server(node_id="a")
    await until(lambda: ring.voters() == {"b", "c"})


async def test_the_last_voter_stays(ring: Ring) -> None:
    with pytest.raises(RequestError):
        await Operations(ring.leader.backend).remove_server(node_id="a")
    assert ring.voters() == {"a"}


async def test_a_server_that_moved_is_written_down(ring: Ring) -> None:
    await grown(ring)
    ring.seen["b"] = replace(ring.seen["b"], address="127.0.0.9:8300")
    keeper = ring.keepers["a"]
    keeper.member_changed()
    await until(lambda: keeper.stats.readdressed == 1)
    hints = {s.node_id: s.hint for s in ring.leader.store.operations.servers()}
    assert hints["b"] == "127.0.0.9:8300"
