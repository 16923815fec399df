"""Real nodes take, restore, send and install snapshots of real files."""

import asyncio
import contextlib
import threading

import pytest

from raftstore.errors import CorruptState, JournalFull, Refused
from raftstore.raft import LmdbJournal
from raftstore.raft.log_rows import KEY
from tests.raftstore.raft.cluster import until
from tests.raftstore.raft.snapshots import SnapServer, SnapServers

#: Where the machine is busy a write may take a second; nobody is to lose the leadership by that.
PATIENT = {"election_min_s": 5.0, "election_max_s": 10.0}


@contextlib.asynccontextmanager
async def one(path, **settings):
    server = SnapServer("a", path)
    node = await server.start(**PATIENT | settings)
    node.bootstrap({"a": "127.0.0.1:1"})
    await until(lambda: node.status().role == "leader")
    try:
        yield server
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def several(path, **settings):
    cluster = SnapServers(3, path)
    try:
        await cluster.start(**PATIENT | settings)
        yield cluster
    finally:
        await cluster.stop()


async def write(node, first, count):
    await asyncio.gather(
        *(node.propose(b"%d" % n, timeout_s=5.0) for n in range(first, first + count))
    )


def numbers(count):
    return [b"%d" % n for n in range(count)]


def journal_keys(path):
    journal = LmdbJournal(path, map_bytes=2**26)
    with journal._env.begin() as txn:
        begins = [KEY.unpack(key)[0] for key, _ in txn.cursor(db=journal._log_db)]
    first, last = journal.first_index, journal.last_index
    journal.close()
    return begins, first, last


async def test_a_snapshot_is_taken_the_log_is_trimmed_and_both_meet_after_a_restart(tmp_path):
    async with one(tmp_path) as server:
        await write(server.node, 0, 100)
        first = await server.node.snapshot_now()
        await write(server.node, 100, 100)
        second = await server.node.snapshot_now()
        await write(server.node, 200, 50)
        assert second.index == first.index + 100
        status = server.node.status()
        assert status.snapshots_taken == 2
        assert status.snapshot_index == second.index
        assert status.first_index == first.index  # the log reaches back to the one before
        await until(lambda: server.journal._saved_first == first.index)
    begins, begin, end = journal_keys(tmp_path)
    assert (begin, end) == (first.index, first.index + 150 + end - second.index - 50)
    assert sum(index <= begin for index in begins) <= 1, "but for a row that is trimmed in part"
    async with one(tmp_path) as server:
        await until(lambda: server.payloads == numbers(250))
        assert server.machine.swaps == 1
        assert server.machine.applied[0][0] == 3


async def test_asking_again_without_a_change_gives_the_same_snapshot(tmp_path):
    async with one(tmp_path) as server:
        await write(server.node, 0, 10)
        assert await server.node.snapshot_now() == await server.node.snapshot_now()


async def test_writes_and_reads_go_on_while_a_snapshot_is_taken(tmp_path):
    async with one(tmp_path, snapshot_share=0.01) as server:
        await write(server.node, 0, 2000)
        taking = asyncio.get_running_loop().create_task(server.node.snapshot_now())
        done = 2000
        while not taking.done():
            await write(server.node, done, 20)
            await server.node.read_index(timeout_s=2.0)
            done += 20
        assert done > 2040
        pointer = await taking
    async with one(tmp_path) as server:
        await until(lambda: len(server.payloads) == done)
        assert server.payloads[: pointer.index - 2] == numbers(done)[: pointer.index - 2]


async def test_the_log_s_growth_makes_a_snapshot_due(tmp_path):
    async with one(tmp_path, snapshot_log_entries=50, snapshot_interval_s=0.0) as server:
        await write(server.node, 0, 40)
        assert server.machine.frozen == 0
        await write(server.node, 40, 20)
        await write(server.node, 60, 1)
        await until(lambda: server.node.status().snapshots_taken == 1)


async def test_a_damaged_snapshot_is_replaced_by_the_one_before_it(tmp_path):
    async with one(tmp_path) as server:
        for number in range(3):
            await write(server.node, number * 20, 20)
            pointer = await server.node.snapshot_now()
    path = tmp_path / "snapshots" / pointer.name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    async with one(tmp_path) as server:
        await until(lambda: server.payloads == numbers(60))
        assert server.node.status().snapshot_index < pointer.index


@pytest.mark.parametrize("harm", ["flip", "shorten", "remove", "swap"])
async def test_without_a_usable_snapshot_the_node_refuses_to_start_and_names_the_remedy(
    tmp_path, harm
):
    async with one(tmp_path) as server:
        await write(server.node, 0, 20)
        pointer = await server.node.snapshot_now()
        server.journal.trim_to(pointer.index)
        await write(server.node, 20, 1)
    path = tmp_path / "snapshots" / pointer.name
    data = path.read_bytes()
    if harm == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif harm == "shorten":
        path.write_bytes(data[:-40])
    elif harm == "remove":
        path.unlink()
    else:
        path.write_bytes(data.replace(b"LICTSNP1", b"LICTSNP2"))
    with pytest.raises(CorruptState, match=r"reaches back to no other snapshot.*Restore the file"):
        await SnapServer("a", tmp_path).start()
    assert journal_keys(tmp_path)[1] == pointer.index  # nothing was thrown away


async def test_a_file_that_the_thread_opens_while_the_node_stops_is_closed(tmp_path):
    asked, go_on, files = threading.Event(), threading.Event(), []
    async with one(tmp_path) as server:
        await write(server.node, 0, 10)
        create = server.files.create

        def slow(name):
            asked.set()
            assert go_on.wait(10)
            files.append(create(name))
            return files[0]

        server.files.create = slow
        server.node._snapshots._begin("a test")
        await until(asked.is_set)
        asyncio.get_running_loop().call_later(0.05, go_on.set)  # by then it is being stopped
    assert files[0].closed
    assert not (tmp_path / "snapshots" / "snap-1-12.tmp").exists()


async def test_leftovers_of_a_process_that_died_are_removed(tmp_path):
    async with one(tmp_path) as server:
        await write(server.node, 0, 20)
        pointer = await server.node.snapshot_now()
    folder = tmp_path / "snapshots"
    (folder / "incoming.tmp").write_bytes(b"x")
    (folder / "snap-1-9999.tmp").write_bytes(b"x")
    (folder / "snap-1-9999").write_bytes(b"never pointed to")
    async with one(tmp_path):
        assert [path.name for path in folder.iterdir()] == [pointer.name]


async def test_no_more_than_two_snapshots_are_kept(tmp_path):
    async with one(tmp_path) as server:
        for number in range(4):
            await write(server.node, number, 1)
            await server.node.snapshot_now()
        assert len(list((tmp_path / "snapshots").iterdir())) == 2


async def test_a_follower_that_the_log_no_longer_reaches_gets_the_snapshot(tmp_path):
    async with several(tmp_path, install_chunk_bytes=300) as cluster:
        await cluster.write(b"x")
        away = next(s for s in cluster.all if s is not cluster.leader())
        await away.stop()
        leader = cluster.leader()
        await write(leader.node, 0, 500)
        pointer = await leader.node.snapshot_now()
        await write(leader.node, 500, 20)
        await leader.node.snapshot_now()
        assert leader.node.status().first_index == pointer.index
        await write(leader.node, 520, 20)
        await away.start()
        cluster.introduce()
        await until(lambda: away.payloads == [b"x", *numbers(540)])
        assert away.machine.swaps == 1
        assert away.node.status().snapshots_installed == 1
        assert away.machine.applied == leader.machine.applied
        await until(lambda: leader.node.status().snapshots_sent == 1)
        await away.stop()  # and what it installed is what it starts from
        await away.start()
        cluster.introduce()
        await cluster.write(b"end")
        await until(lambda: away.payloads == [b"x", *numbers(540), b"end"])


async def test_a_server_with_no_log_at_all_is_brought_up_by_a_snapshot(tmp_path):
    async with several(tmp_path) as cluster:
        last = cluster[2]
        await last.stop()
        for server in cluster.all[:2]:
            server.node.bootstrap(cluster.members())
        leader = None
        await until(cluster.leader)
        leader = cluster.leader()
        await write(leader.node, 0, 100)
        await leader.node.snapshot_now()
        await write(leader.node, 100, 5)
        await leader.node.snapshot_now()
        last.data = tmp_path / "new"
        await last.start()
        cluster.introduce()
        await until(lambda: last.payloads == numbers(105))
        assert last.node.bootstrapped


async def test_a_transfer_goes_on_where_it_was_when_the_link_breaks(tmp_path):
    async with several(tmp_path, install_chunk_bytes=200, install_bytes_per_s=20_000) as cluster:
        await cluster.write(b"x")
        away = next(s for s in cluster.all if s is not cluster.leader())
        await away.stop()
        leader = cluster.leader()
        await write(leader.node, 0, 3000)
        pointer = await leader.node.snapshot_now()
        await write(leader.node, 3000, 5)
        await leader.node.snapshot_now()
        await away.start(install_chunk_bytes=200)
        cluster.introduce()
        incoming = away.files.path("incoming.tmp")
        await until(lambda: incoming.exists() and incoming.stat().st_size > 0)
        for link in list(away.node._network._links.values()):
            link.close("replaced")
        await until(lambda: len(away.payloads) == 3006, 30.0)
        assert pointer.size > 2000
        assert away.node.status().snapshots_installed == 1


async def test_a_disk_without_room_stops_writes_for_certain_and_leaves_reads(tmp_path):
    async with one(tmp_path) as server:
        await write(server.node, 0, 10)
        room = server.journal.measure_free
        server.journal.measure_free = lambda: 0
        server.journal._measured_at = 0.0
        await write(server.node, 10, 1)  # notices
        with pytest.raises(JournalFull) as caught:
            await server.node.propose(b"no", timeout_s=1.0)
        assert caught.value.definite
        assert await server.node.read_index(timeout_s=2.0) > 0
        server.journal.measure_free = room
        server.journal._free_bytes = room()
        await write(server.node, 11, 1)


async def test_a_write_that_finds_no_room_is_tried_again_and_is_not_fatal(tmp_path):
    async with one(tmp_path, full_retry_s=0.05) as server:
        await write(server.node, 0, 10)
        persist, refused = server.journal.persist, []

        def refuse(batch):
            refused.append(batch)
            raise JournalFull("no room")

        server.journal.persist = refuse
        waiting = asyncio.get_running_loop().create_task(server.node.propose(b"10", timeout_s=10.0))
        await until(lambda: len(refused) >= 3)
        assert not waiting.done()
        assert not server.node.fatal.done()
        server.journal.persist = persist
        await waiting
        assert server.payloads == numbers(11)
        assert len({id(batch) for batch in refused}) == 1


async def test_a_snapshot_that_cannot_be_written_harms_nothing(tmp_path):
    async with one(tmp_path) as server:
        await write(server.node, 0, 10)

        def no_room(name):
            raise JournalFull("no room")

        create, server.files.create = server.files.create, no_room
        with pytest.raises(JournalFull):
            await server.node.snapshot_now()
        server.files.create = create
        await write(server.node, 10, 1)
        assert (await server.node.snapshot_now()).index > 10


async def test_a_node_without_a_place_for_them_takes_none():
    from tests.raftstore.raft.cluster import servers

    async with servers(1) as cluster:
        await cluster.write(b"x")
        with pytest.raises(Refused):
            await cluster[0].node.snapshot_now()
