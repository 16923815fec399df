"""A server that comes back under its id without what it had promised."""

import shutil

from raftstore.raft.members import Disk
from raftstore.raft.stock import use_clock
from tests.raftstore.raft.cluster import servers, until
from tests.raftstore.raft.test_engine import Bench


def voters(server):
    return {n for n, _, votes in server.node.status().members if votes}


def disks_noted(server):
    return all(m.disk for m in server.node._replica.engine.config.members.values())


async def test_an_empty_disk_has_no_vote_until_it_has_been_filled_again(tmp_path):
    async with servers(3, tmp_path, promotion_stable_s=0.0) as cluster:
        await cluster.write(b"a")
        leader = cluster.leader()
        await until(lambda: disks_noted(leader))
        gone = next(s for s in cluster.all if s is not leader)
        await gone.stop()
        shutil.rmtree(gone.data)
        before = leader.node.status().config_index
        await gone.start(promotion_stable_s=0.0)
        cluster.introduce()
        await until(lambda: leader.node.status().disks_replaced == 1)
        await until(lambda: len(voters(leader)) == 3 and leader.node.status().config_committed)
        assert leader.node.status().config_index >= before + 2  # out, and in again
        await until(lambda: [p for _, p in gone.applied] == [b"a"])
        await until(lambda: gone.node.status().remembers and gone.node.status().is_voter)


async def test_a_copy_of_the_disk_from_earlier_is_noticed_by_the_leader(tmp_path):
    async with servers(3, tmp_path, promotion_stable_s=0.0) as cluster:
        await cluster.write(b"a")
        leader = cluster.leader()
        await until(lambda: disks_noted(leader))
        gone = next(s for s in cluster.all if s is not leader)
        await until(lambda: len(gone.applied) == 1)
        await gone.stop()
        shutil.copytree(gone.data, tmp_path / "copy")
        await gone.start(promotion_stable_s=0.0)
        cluster.introduce()
        await cluster.write(b"b")
        await until(lambda: len(gone.applied) == 2)
        await gone.stop()
        shutil.rmtree(gone.data)
        shutil.copytree(tmp_path / "copy", gone.data)
        await gone.start(promotion_stable_s=0.0)
        cluster.introduce()
        await until(lambda: leader.node.status().disks_replaced == 1)
        await until(lambda: len(voters(leader)) == 3 and leader.node.status().config_committed)
        await until(lambda: [p for _, p in gone.applied] == [b"a", b"b"])
        assert gone.node._replica.engine.stats.disks_lost == 1


def test_a_voter_on_another_disk_neither_elects_nor_commits():
    bench = Bench(["a", "b", "c"])
    try:
        for name, replica in bench.replicas.items():
            replica.journal.claim(name, f"disk-{name}")
            for other in bench.replicas.values():
                if other is not replica:
                    other.engine.connected(name, replica.journal.disk, 0)
        bench.elect("a", ["a", "b", "c"])
        a = bench.replicas["a"]
        a.propose("t", b"x")
        for name in "abc":
            bench.turn(name)
        bench.now += 0.2
        bench.pass_on(["a", "b", "c"])
        assert all(a.engine.config.members[n].disk == f"disk-{n}" for n in "abc")
        a.engine.disconnected("b")  # c alone is left, and has another disk
        a.engine.disconnected("c")
        a.engine.connected("c", Disk("other", founding=False), 0)
        assert not a.engine.counts("c")
        at = a.engine.commit_index()
        a.propose("u", b"y")
        bench.pass_on(["a", "c"])
        assert a.engine.commit_index() == at
        assert a.engine.match_index("c") == 0
    finally:
        use_clock(bench.before)
