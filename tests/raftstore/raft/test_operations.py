"""Leadership transfer and membership on real nodes, sockets and disks."""

import asyncio
import contextlib
import threading

import pytest

from raftstore.errors import LeadershipLost, NotLeader, Refused, StoreError
from tests.raftstore.raft.cluster import Server, Servers, servers, until

QUICK = {"promotion_stable_s": 0.1}


def follower(cluster: Servers) -> Server:
    return next(s for s in cluster.up() if s is not cluster.leader())


def roles(server: Server) -> dict[str, str]:
    return {s.node_id: s.role for s in server.node.operations.servers()}


async def ask(cluster: Servers, what: str, *args, **kwargs):
    """An operation on whoever leads; again if leadership moves."""
    async with asyncio.timeout(10):
        while True:
            leader = cluster.leader()
            if leader is not None:
                with contextlib.suppress(NotLeader):
                    operation = getattr(leader.node.operations, what)
                    return await operation(*args, timeout_s=5.0, **kwargs)
            await asyncio.sleep(0.01)


async def join(cluster: Servers, name: str, path=None, **settings) -> Server:
    server = Server(name, path)
    await server.start(**QUICK, **settings)
    cluster.all.append(server)
    cluster.introduce()
    return server


async def test_leadership_moves_to_the_one_named_and_writes_go_on(tmp_path):
    async with servers(3, tmp_path) as cluster:
        await cluster.write(b"x")
        target = follower(cluster)
        old = cluster.leader().node
        term = old.status().term
        assert (
            await old.operations.transfer_leadership(target.node_id, timeout_s=5.0)
            == target.node_id
        )
        assert cluster.leader() is target
        assert target.node.status().term == term + 1
        await cluster.write(b"y")


async def test_leadership_moves_under_full_load_and_every_write_is_answered_rightly(tmp_path):
    async with servers(3, tmp_path) as cluster:
        await cluster.write(b"x")
        acked, done = [], asyncio.Event()

        async def writer(number: int) -> None:
            count = 0
            while not done.is_set():
                count += 1
                payload = b"%d-%d" % (number, count)
                await cluster.write(payload)
                acked.append(payload)

        tasks = [asyncio.get_running_loop().create_task(writer(n)) for n in range(32)]
        await until(lambda: len(acked) > 200)
        for _ in range(3):
            old = cluster.leader()
            name = await old.node.operations.transfer_leadership(timeout_s=5.0)
            assert name != old.node_id
            count = len(acked)
            await until(lambda count=count: len(acked) > count + 100)
        done.set()
        await asyncio.gather(*tasks)
        leader = cluster.leader()
        applied = [payload for _, payload in leader.applied]
        assert set(acked) <= set(applied)
        assert leader.node.status().term <= 5  # each transfer took one election


async def test_reads_by_lease_are_never_old_though_leadership_is_handed_on_under_load(tmp_path):
    async with servers(3, tmp_path, lease=True) as cluster:
        await cluster.write(b"x")
        acked, old, done = [0], [], asyncio.Event()
        reads = 0

        async def writer(number: int) -> None:
            while not done.is_set():
                index, _ = await cluster.write(b"%d-%d" % (number, len(acked)))
                acked.append(max(acked[-1], index))

        async def reader(server: Server) -> None:
            nonlocal reads
            while not done.is_set():
                least = acked[-1]
                with contextlib.suppress(StoreError):  # it does not lead, or not any more
                    index = await server.node.read_index(timeout_s=1.0)
                    reads += 1
                    if index < least:
                        old.append((server.node_id, index, least))
                await asyncio.sleep(0)

        work = [writer(number) for number in range(16)]
        work += [reader(server) for server in cluster.all for _ in range(2)]
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
            for _ in range(4):
                leader = await led_by_lease(cluster)
                served = leader.node.status().lease_reads
                await until(lambda leader=leader, n=served: leader.node.status().lease_reads > n)
                with contextlib.suppress(StoreError):
                    await leader.node.operations.transfer_leadership(timeout_s=5.0)
            await led_by_lease(cluster)
            done.set()
        handed = sum(s.node.status().step_downs_by["transferred"] for s in cluster.all)
        assert handed >= 3
        assert reads > 50 and not old


async def led_by_lease(cluster: Servers) -> Server:
    """The leader, once it has a lease."""

    def leased() -> bool:
        leader = cluster.leader()
        return leader is not None and leader.node.status().lease_left_s > 0

    await until(leased)
    leader = cluster.leader()
    assert leader is not None
    return leader


async def test_a_transfer_to_a_server_that_is_gone_fails_and_the_leader_leads_on():
    async with servers(3) as cluster:
        await cluster.write(b"x")
        leader, target = cluster.leader(), follower(cluster)
        await target.stop()
        transfer = asyncio.get_running_loop().create_task(
            leader.node.operations.transfer_leadership(target.node_id, timeout_s=5.0)
        )
        await until(lambda: leader.node.status().transfers_begun)
        write = asyncio.get_running_loop().create_task(leader.node.propose(b"waits", timeout_s=5.0))
        with pytest.raises(StoreError, match="transfer failed"):
            await transfer
        await write  # it waited for the transfer, and then went its way
        assert cluster.leader() is leader


async def test_transfers_that_make_no_sense_are_refused():
    async with servers(1) as cluster:
        await cluster.write(b"x")
        node = cluster[0].node
        for target in (None, "nobody", cluster[0].node_id):
            with pytest.raises(Refused):
                await node.operations.transfer_leadership(target, timeout_s=1.0)
    async with servers(3) as cluster:
        await cluster.write(b"x")
        await until(lambda: follower(cluster).node.status().leader_id)
        with pytest.raises(NotLeader):
            await follower(cluster).node.operations.transfer_leadership(timeout_s=1.0)
        with pytest.raises(NotLeader):
            await follower(cluster).node.operations.remove_server("node-0", timeout_s=1.0)


async def test_a_server_joins_catches_up_votes_and_counts(tmp_path):
    async with servers(3, tmp_path, **QUICK) as cluster:
        for number in range(300):
            await cluster.write(b"%d" % number)
        joined = await join(cluster, "node-9", tmp_path / "9")
        await ask(cluster, "add_server", "node-9", f"127.0.0.1:{joined.port}")
        await until(lambda: roles(cluster.leader())["node-9"] == "voter")
        await until(lambda: len(joined.applied) == 300)
        await until(lambda: joined.node.status().is_voter)
        # Of four voters three must be up: two old ones and the new one.
        await next(s for s in cluster.up() if s not in (cluster.leader(), joined)).stop()
        await cluster.write(b"y", seconds=15)


async def test_a_non_voter_replicates_and_is_never_counted(tmp_path):
    async with servers(3, tmp_path, **QUICK) as cluster:
        await cluster.write(b"x")
        reader = await join(cluster, "node-9", tmp_path / "9")
        await ask(cluster, "add_server", "node-9", f"127.0.0.1:{reader.port}", voter=False)
        await cluster.write(b"y")
        await until(lambda: [p for _, p in reader.applied] == [b"x", b"y"])
        assert roles(cluster.leader())["node-9"] == "non-voter"
        leader = cluster.leader()
        for server in list(cluster.all):
            if server not in (leader, reader):
                await server.stop()
        with pytest.raises(StoreError):  # the reader's copy is no vote
            await leader.node.propose(b"z", timeout_s=2.5)
        assert reader.node.status().role == "follower"


async def test_a_removed_server_is_told_and_disturbs_nobody(tmp_path):
    async with servers(3, tmp_path) as cluster:
        await cluster.write(b"x")
        victim = follower(cluster)
        await ask(cluster, "remove_server", victim.node_id)
        await until(lambda: victim.node.status().dismissed)
        term = cluster.leader().node.status().term
        elections = victim.node.status().elections_started
        assert set(roles(cluster.leader())) == {s.node_id for s in cluster.all if s is not victim}
        steps = victim.node.status().steps  # with nobody to talk to, its election timer makes them
        await until(lambda: victim.node.status().steps >= steps + 3)
        assert victim.node.status().elections_started == elections
        assert cluster.leader().node.status().term == term
        # Started again it is told again, and it may be taken back.
        await victim.stop()
        await victim.start()
        cluster.introduce()
        await until(lambda: victim.node.status().dismissed)
        await ask(cluster, "add_server", victim.node_id, f"127.0.0.1:{victim.port}", voter=False)
        await cluster.write(b"y")
        await until(lambda: [p for _, p in victim.applied] == [b"x", b"y"])


async def test_a_leader_asked_to_remove_itself_hands_over_and_names_the_new_leader(tmp_path):
    async with servers(3, tmp_path) as cluster:
        await cluster.write(b"x")
        old = cluster.leader()
        with pytest.raises(NotLeader) as caught:
            await old.node.operations.remove_server(old.node_id, timeout_s=5.0)
        assert caught.value.leader == cluster.leader().node_id != old.node_id
        await ask(cluster, "remove_server", old.node_id)
        await until(lambda: old.node.status().dismissed)
        await cluster.write(b"y")
        assert old.node_id not in roles(cluster.leader())


async def test_a_removal_that_would_cost_the_quorum_is_refused():
    async with servers(3) as cluster:
        await cluster.write(b"x")
        dead = follower(cluster)
        await dead.stop()
        alive = follower(cluster)
        await until(
            lambda: next(
                s.last_ack_s > 1.0
                for s in cluster.leader().node.operations.servers()
                if s.node_id == dead.node_id
            )
        )
        with pytest.raises(Refused, match="quorum"):
            await ask(cluster, "remove_server", alive.node_id)
        await ask(cluster, "remove_server", dead.node_id)
        await cluster.write(b"y")


async def test_membership_survives_a_restart_of_everybody(tmp_path):
    async with servers(3, tmp_path, **QUICK) as cluster:
        await cluster.write(b"x")
        joined = await join(cluster, "node-9", tmp_path / "9")
        await ask(cluster, "add_server", "node-9", f"127.0.0.1:{joined.port}")
        await until(lambda: roles(cluster.leader())["node-9"] == "voter")
        gone = next(s for s in cluster.up() if s not in (cluster.leader(), joined))
        await ask(cluster, "remove_server", gone.node_id)
        await gone.stop()
        for server in cluster.all:
            await server.stop()
        cluster.all.remove(gone)
        for server in cluster.all:
            await server.start(**QUICK)
        cluster.introduce()
        await cluster.write(b"y")
        assert set(roles(joined).values()) == {"voter"} and gone.node_id not in roles(joined)


async def test_a_leader_whose_disk_hangs_steps_down_fails_its_callers_and_is_replaced():
    async with servers(3) as cluster:
        await cluster.write(b"x")
        old = cluster.leader()
        gate = threading.Event()
        old.journal.persist = lambda batch: gate.wait(20)
        try:
            with pytest.raises(LeadershipLost):  # it entered the log: nobody can say
                await old.node.propose(b"y", timeout_s=8.0)
            assert old.node.status().role != "leader"
            await until(lambda: cluster.leader() not in (None, old))
            await cluster.write(b"z")
        finally:
            gate.set()
        await until(lambda: [p for _, p in old.applied][-1:] == [b"z"])
        assert old.node.status().disk_step_downs == 1 and cluster.leader() is not old


async def test_the_only_voter_leads_on_however_long_its_disk_takes(tmp_path):
    quick = {"heartbeat_s": 0.05, "election_min_s": 0.2, "election_max_s": 0.4}
    async with servers(1, tmp_path, **quick) as cluster:
        await cluster.write(b"x")
        alone = cluster.leader()
        never, persist = threading.Event(), alone.journal.persist

        def slowly(batch):
            never.wait(1.0)  # five times an election timeout
            return persist(batch)

        alone.journal.persist = slowly
        await alone.node.propose(b"y", timeout_s=20.0)
        assert alone.node.status().role == "leader"
        assert alone.node.status().disk_step_downs == 0
