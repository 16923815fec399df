"""A real node looks at itself."""

from raftstore.errors import JournalFull
from tests.raftstore.raft.cluster import servers, until
from tests.raftstore.raft.test_snapshotter import one, write


async def test_all_servers_agree_on_who_leads_and_each_says_why(tmp_path):
    async with servers(3, tmp_path) as cluster:
        await cluster.write(b"x")
        leader = cluster.leader()
        await until(lambda: all(s.node.status().leader_id == leader.node_id for s in cluster.all))
        for server in cluster.all:
            found = server.node.operations.inspect()
            assert (found.leaders[0].leader, found.fatal) == (leader.node_id, "")
            assert found.latencies.writes == found.status.syncs > 0
            assert 0 < found.latencies.p50_s <= found.latencies.max_s <= found.status.sync_max_s
            assert found.disk.id == server.journal.disk.id
            if server is leader:
                assert found.why.startswith(f"elected in term {found.status.term} by ")
                assert found.attempts[0].outcome == "won" and len(found.attempts[0].votes) >= 2
            else:
                assert found.why.startswith(f"{leader.node_id} leads term {found.status.term}")
        await until(lambda: leader.node.operations.inspect().known_by == leader.journal.disk.id)
        await leader.node.operations.transfer_leadership(timeout_s=5.0)
        ended = leader.node.operations.inspect()
        assert [one.reason for one in ended.step_downs] == ["transferred"]
        assert ended.step_downs[0].led_s > 0 and ended.attempts[0].outcome == "won"


async def test_snapshots_are_told_with_their_reasons_and_what_went_wrong(tmp_path):
    async with one(tmp_path, snapshot_log_entries=20, snapshot_interval_s=0.0) as server:
        inspect = server.node.operations.inspect
        await write(server.node, 0, 30)
        await write(server.node, 30, 1)
        await until(lambda: inspect().snapshots)
        (taken,) = inspect().snapshots
        assert (taken.reason, taken.outcome) == ("the log is long", "taken")
        assert taken.index == server.node.status().snapshot_index
        assert taken.size > 0 and taken.seconds > 0

        def no_room(name):
            raise JournalFull("no room")

        server.files.create = no_room
        await write(server.node, 31, 30)
        await write(server.node, 61, 1)
        await until(lambda: len(inspect().snapshots) > 1)
        assert inspect().snapshots[0].outcome == "failed: no room"
        assert inspect().next_snapshot == "the log is long"


async def test_a_node_that_has_failed_says_so(tmp_path):
    async with one(tmp_path) as server:

        def broken(batch):
            raise OSError(5, "disk")

        server.journal.persist = broken
        waiting = server.node.propose_soon(b"x", timeout_s=5.0, done=lambda result: None)
        await until(server.node.fatal.done)
        assert waiting is not None
        found = server.node.operations.inspect()
        assert "disk" in found.fatal and found.why.startswith("this server has failed")
