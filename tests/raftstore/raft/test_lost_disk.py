"""A server that comes back under its id without what it had promised."""

import shutil

import pytest

from raftstore.errors import DecodeError
from raftstore.raft.lost_disk import KnownDisks, memory_of
from raftstore.raft.members import STAGING, VOTER, Config, Disk, Member
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
        bench.elect("a", ["a", "b", "c"])
        a = bench.replicas["a"]
        for name, replica in bench.replicas.items():
            replica.journal.claim(name, f"disk-{name}")
            if replica is not a:
                a.engine.connected(name, replica.journal.disk, replica.journal.last_index)
        a.propose("t", b"x")
        for name in "abc":
            bench.turn(name)
        for _ in range(5):
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


def test_an_operator_hears_of_it_once_and_when_it_is_over():
    known = KnownDisks("a")
    noted = Config("c", {"a": Member(VOTER, "", "d1"), "b": Member(VOTER, "", "d2")})
    assert known.look(noted, remembers=True) == []
    (lost,) = known.look(noted, remembers=False)
    assert "no vote" in lost and "node=a" in lost
    assert known.look(noted, remembers=False) == []
    (found,) = known.look(noted, remembers=True)
    assert "known by the disk" in found
    other = Config("c", {**noted.members, "b": Member(VOTER, "", "d3")})
    (replaced,) = known.look(other, remembers=True)
    assert "node=b" in replaced and known.replaced == 1


def one(role, disk):
    return Config("c", {"a": Member(role, "", disk), "b": Member(VOTER, "", "d2")})


def test_a_founder_that_hears_of_its_cluster_late_is_told_nothing():
    known = KnownDisks("a")
    assert known.look(one(VOTER, ""), remembers=False) == []
    assert known.look(one(VOTER, ""), remembers=True) == []
    assert known.look(one(VOTER, "d1"), remembers=True) == []
    assert known.look(one(STAGING, "d1"), remembers=True) == [], "an operator took its vote"


def test_a_disk_lost_before_it_was_noted_is_told_when_the_leader_has_judged():
    known = KnownDisks("a")
    assert known.look(one(VOTER, ""), remembers=False) == []
    (lost,) = known.look(one(STAGING, "d3"), remembers=True)
    assert "lost what it promised" in lost
    assert known.look(one(VOTER, "d3"), remembers=True) == []


def test_a_new_server_that_has_promised_nothing_is_told_nothing():
    known = KnownDisks("a")
    assert known.look(one(STAGING, ""), remembers=False) == []
    assert known.look(one(STAGING, "d1"), remembers=True) == []
    assert known.look(one(VOTER, "d1"), remembers=True) == []


@pytest.mark.parametrize(
    "fields", [[], ["d", True], ["d" * 65, True, 1], ["d", 1, 1], ["d", True, -1]]
)
def test_a_memory_of_another_shape_is_refused(fields):
    with pytest.raises(DecodeError):
        memory_of(fields)
