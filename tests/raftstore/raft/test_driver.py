"""Real nodes on real sockets and real disks."""

import asyncio
import threading
import time

import pytest
import uvloop

from raftstore.errors import CorruptState, NoLeader, NotLeader, ProposalTimeout, Refused, StoreError
from raftstore.raft import LmdbJournal, MemJournal, RaftConfig, RaftNode
from tests.raftstore.raft.cluster import Server, servers, until


async def test_three_servers_elect_replicate_and_answer_with_the_result_of_apply(tmp_path):
    async with servers(3, tmp_path) as cluster:
        index, value = await cluster.write(b"one")
        assert value == b"ONE"
        await until(lambda: all(s.applied == [(index, b"one")] for s in cluster.all))
        roles = sorted(s.node.status().role for s in cluster.all)
        assert roles == ["follower", "follower", "leader"]
        assert len({s.node.cluster_id for s in cluster.all}) == 1


async def test_a_fresh_cluster_elects_in_well_under_two_seconds():
    started = time.monotonic()
    async with servers(3) as cluster:
        await until(cluster.leader)
        assert time.monotonic() - started < 2.0


async def test_a_single_member_elects_itself_at_once(tmp_path):
    started = time.monotonic()
    async with servers(1, tmp_path) as cluster:
        assert await cluster.write(b"x") == (3, b"X")  # bootstrap record, no-op, ours
        assert time.monotonic() - started < 0.5
        assert await cluster[0].node.read_index(timeout_s=1.0) >= 3


async def test_a_node_without_a_bootstrap_record_never_campaigns_but_receives(tmp_path):
    async with servers(3, tmp_path, bootstrap=False) as cluster:
        for server in cluster.all[:2]:
            server.node.bootstrap(cluster.members())
        await cluster.write(b"x")
        last = cluster[2]
        await until(lambda: [p for _, p in last.applied] == [b"x"])
        assert last.node.bootstrapped
        assert last.node.cluster_id == cluster[0].node.cluster_id


async def test_followers_refuse_writes_and_reads_and_name_the_leader():
    async with servers(3) as cluster:
        await cluster.write(b"x")
        leader = cluster.leader()
        follower = next(s for s in cluster.all if s is not leader)
        with pytest.raises(NotLeader) as caught:
            await follower.node.propose(b"y", timeout_s=1.0)
        assert caught.value.leader == leader.node_id
        with pytest.raises(NotLeader):
            await follower.node.read_index(timeout_s=1.0)


async def test_a_leader_without_a_quorum_confirms_no_read_and_steps_down():
    async with servers(3) as cluster:
        await cluster.write(b"x")
        leader = cluster.leader()
        for server in cluster.all:
            if server is not leader:
                await server.stop()
        with pytest.raises(StoreError):
            await leader.node.read_index(timeout_s=3.0)
        await until(lambda: leader.node.status().role != "leader")
        with pytest.raises(NoLeader):
            await leader.node.propose(b"y", timeout_s=1.0)


async def test_writes_go_on_within_a_second_after_the_leader_has_gone(tmp_path):
    async with servers(3, tmp_path) as cluster:
        await cluster.write(b"before")
        await cluster.leader().stop()
        gone_at = time.monotonic()
        await cluster.write(b"after")
        assert time.monotonic() - gone_at < 1.5


async def test_a_read_sees_every_write_acknowledged_before_it():
    async with servers(3) as cluster:
        for number in range(50):
            index, _ = await cluster.write(b"%d" % number)
            assert await cluster.leader().node.read_index(timeout_s=2.0) >= index
            assert cluster.leader().applied[-1][0] >= index


async def test_a_restarted_cluster_applies_everything_again(tmp_path):
    async with servers(3, tmp_path, tail_entries_max=50) as cluster:
        await cluster.write(b"first")
        leader = cluster.leader()
        writes = [leader.node.propose(b"%d" % n, timeout_s=5.0) for n in range(500)]
        assert len(await asyncio.gather(*writes)) == 500
        expected = [payload for _, payload in leader.applied]
        for server in cluster.all:
            await server.stop()
        for server in cluster.all:
            await server.start()
        cluster.introduce()
        await cluster.write(b"last")
        await until(
            lambda: all([p for _, p in s.applied] == [*expected, b"last"] for s in cluster.all)
        )


async def test_a_server_that_was_away_catches_up_over_many_appends(tmp_path):
    async with servers(3, tmp_path, append_bytes_max=2000) as cluster:
        await cluster.write(b"x")
        away = next(s for s in cluster.all if s is not cluster.leader())
        await away.stop()
        leader = cluster.leader().node
        await asyncio.gather(*(leader.propose(b"%d" % n * 50, timeout_s=5.0) for n in range(300)))
        await away.start()
        cluster.introduce()
        await until(lambda: len(away.applied) == 301)
        assert away.applied == cluster.leader().applied


async def test_a_journal_of_another_node_is_refused(tmp_path):
    first = Server("node-a", tmp_path)
    node = await first.start()
    node.bootstrap({"node-a": "127.0.0.1:1"})
    await until(lambda: node.status().role == "leader")
    await first.stop()
    journal = LmdbJournal(tmp_path, map_bytes=2**26)
    try:
        with pytest.raises(CorruptState, match="belongs to node node-a"):
            RaftNode(RaftConfig(node_id="node-b"), journal=journal, apply=lambda i, s, p: None)
    finally:
        journal.close()


async def test_an_apply_that_raises_stops_the_node():
    def apply(index, stamp, payload):
        raise ZeroDivisionError

    node = RaftNode(RaftConfig(node_id="a"), journal=MemJournal(), apply=apply)
    await node.start()
    node.bootstrap({"a": "127.0.0.1:1"})
    await until(lambda: node.status().role == "leader")
    with pytest.raises(StoreError):
        await node.propose(b"x", timeout_s=5.0)
    assert isinstance(await node.fatal, ZeroDivisionError)
    with pytest.raises(Refused):
        await node.propose(b"x", timeout_s=5.0)
    await node.stop()


async def test_a_disk_error_is_fatal_and_nothing_is_acknowledged():
    journal = MemJournal()
    node = RaftNode(RaftConfig(node_id="a"), journal=journal, apply=lambda i, s, p: None)
    await node.start()
    node.bootstrap({"a": "127.0.0.1:1"})
    await until(lambda: node.status().role == "leader")

    def persist(batch):
        raise OSError("disk")

    journal.persist = persist
    with pytest.raises(StoreError) as caught:
        await node.propose(b"x", timeout_s=5.0)
    assert not caught.value.definite
    assert isinstance(await node.fatal, OSError)
    await node.stop()


async def test_an_oversized_payload_is_refused_for_certain():
    async with servers(1) as cluster:
        await cluster.write(b"x")
        with pytest.raises(Refused):
            await cluster[0].node.propose(b"x" * (2**20 + 1), timeout_s=1.0)


def test_it_works_on_uvloop_too(tmp_path):
    async def run():
        async with servers(3, tmp_path) as cluster:
            index, _ = await cluster.write(b"x")
            assert await cluster.leader().node.read_index(timeout_s=2.0) >= index
            await cluster.leader().stop()
            await cluster.write(b"y")

    uvloop.run(run())


async def test_a_follower_acknowledges_nothing_before_its_disk_has_it():
    async with servers(3) as cluster:
        await cluster.write(b"x")
        leader = cluster.leader()
        gate = threading.Event()
        for server in cluster.all:
            if server is not leader:
                server.journal.persist = lambda batch: gate.wait(10)
        try:
            with pytest.raises(ProposalTimeout):
                await leader.node.propose(b"y", timeout_s=0.3)
            assert leader.node.status().commit_index < leader.node.status().last_index
        finally:
            gate.set()
        await until(lambda: [p for _, p in leader.applied] == [b"x", b"y"])


async def test_what_is_committed_is_applied_while_the_disk_is_busy(tmp_path):
    async with servers(1, tmp_path, apply_entries_max=1) as cluster:
        server = cluster[0]
        await cluster.write(b"first")
        gate, real = threading.Event(), server.journal.persist
        told = []

        def tell(outcome):
            told.append(outcome)
            if len(told) == 1:  # the others of its batch are committed and not yet applied
                server.journal.persist = hang
                server.node.propose_soon(b"behind", timeout_s=9.0, done=told.append)

        def hang(batch):
            gate.wait(9)
            real(batch)

        for number in range(5):  # one batch
            server.node.propose_soon(b"%d" % number, timeout_s=9.0, done=tell)
        try:
            await until(lambda: len(told) == 5)
            assert [p for _, p in server.applied] == [b"first", b"0", b"1", b"2", b"3", b"4"]
        finally:
            gate.set()
        await until(lambda: len(told) == 6)
        assert server.applied[-1][1] == b"behind"
