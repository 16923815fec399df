"""Data directories of real stores: read, rewritten, and started again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raftstore import recover
from raftstore.commands import KVSet
from raftstore.queries import KVGet
from raftstore.raft.journal import LmdbJournal
from raftstore.raft.log import CONFIG
from raftstore.raft.members import decode_config
from raftstore.raft.snapshot import SnapshotFiles
from raftstore.recovery import Loss, RecoveryRefused, plan, seed_config
from tests.agent.backend.servers import Server, until


async def three_on_disk(tmp_path: Path) -> list[Path]:
    """Three servers that agreed on a few writes, stopped."""
    servers = [Server(name, str(tmp_path / name)) for name in ("a", "b", "c")]
    for server in servers:
        await server.start()
    members = {server.name: server.address for server in servers}
    for server in servers:
        server.store.bootstrap(members)
    await until(lambda: any(server.store.is_leader for server in servers))
    leader = next(server for server in servers if server.store.is_leader)
    for number in range(20):
        await leader.store.propose(KVSet(key=f"k{number}", value=b"v"))
    for server in servers:
        await until(lambda s=server: s.store.answer(KVGet("k19")).value is not None)
    for server in servers:
        await server.stop()
    return [tmp_path / server.name for server in servers]


async def test_one_survivor_of_three_goes_on_with_everything(tmp_path: Path) -> None:
    first, *_ = await three_on_disk(tmp_path)
    before = recover.read_survivor(str(first))
    made = plan([before])
    assert made.missing == ("b", "c")
    copy = recover.back_up(str(first))
    recover.rewrite(str(first), seed_config(before))
    assert LmdbJournal(copy).config is not None
    server = Server("a", str(first))
    await server.start()
    try:
        await until(lambda: server.store.is_leader)
        assert server.store.cluster_id == made.new_cluster_id
        assert server.store.answer(KVGet("k19")).value is not None
        await server.store.propose(KVSet(key="after", value=b"1"))
        # A new server learns the whole log, and of no other cluster than this.
        joining = Server("n", str(tmp_path / "n"))
        await joining.start()
        try:
            joining.store.set_address("a", *server.port.address)
            await server.store.operations.add_server("n", joining.address, timeout_s=10)
            await until(lambda: joining.store.answer(KVGet("after")).value is not None)
            assert joining.store.cluster_id == made.new_cluster_id
            assert joining.store.answer(KVGet("k0")).value is not None
        finally:
            await joining.stop()
    finally:
        await server.stop()


async def test_no_record_of_the_former_cluster_is_left_in_the_log(tmp_path: Path) -> None:
    a, *_ = await three_on_disk(tmp_path)
    before = recover.read_survivor(str(a))
    old = LmdbJournal(a / "raft")
    payloads = [e for e in old.entries(1, old.last_index) if e[0][0] != CONFIG]
    old.close()
    recover.rewrite(str(a), seed_config(before))
    journal = LmdbJournal(a / "raft")
    try:
        log = journal.entries(1, journal.last_index)
        records = {decode_config(e[0][1:]).cluster_id for e in log if e[0][0] == CONFIG}
        assert records == {seed_config(before).cluster_id}
        assert [e for e in log if e[0][0] != CONFIG] == payloads
        assert (journal.term, journal.vote) == (before.term, before.vote)
    finally:
        journal.close()


async def test_the_snapshot_belongs_to_the_new_cluster_too(tmp_path: Path) -> None:
    server = Server("a", str(tmp_path / "a"))
    await server.start()
    server.store.bootstrap({"a": server.address})
    await until(lambda: server.store.is_leader)
    await server.store.propose(KVSet(key="k", value=b"v"))
    pointer = await server.store.snapshot_now()
    await server.stop()
    folder = str(tmp_path / "a")
    before = recover.read_survivor(folder)
    assert before.snapshot == (pointer.index, pointer.term)
    recover.rewrite(folder, seed_config(before))
    files = SnapshotFiles(tmp_path / "a" / "raft" / "snapshots")
    header, found = files.verify(pointer.name)
    assert header.cluster_id == seed_config(before).cluster_id
    assert found != pointer
    again = Server("a", folder)
    await again.start()
    try:
        await until(lambda: again.store.is_leader)
        assert again.store.answer(KVGet("k")).value.value == b"v"
    finally:
        await again.stop()


async def test_two_survivors_go_on_together_with_a_peers_file(tmp_path: Path) -> None:
    a, b, _ = await three_on_disk(tmp_path)
    entries = [{"id": name, "address": f"127.0.0.1:{port}"} for name, port in (("a", 1), ("b", 2))]
    clusters = set()
    for path, name in ((a, "a"), (b, "b")):
        (path / "raft" / "peers.json").write_text(json.dumps(entries))
        config = recover.take_peers_file(str(path), own_id=name, own_address="127.0.0.1:9")
        assert config is not None
        clusters.add(config.cluster_id)
        assert not (path / "raft" / "peers.json").exists()
        assert (path / "raft" / "peers.json.used").exists()
        assert recover.take_peers_file(str(path), own_id=name, own_address="127.0.0.1:9") is None
    assert len(clusters) == 1
    servers = [Server("a", str(a)), Server("b", str(b))]
    for server in servers:
        await server.start()
    for one in servers:
        for other in servers:
            one.store.set_address(other.name, *other.port.address)
    try:
        await until(lambda: any(server.store.is_leader for server in servers))
        assert {n for n, _, _ in servers[0].store.status().members} == {"a", "b"}
        for server in servers:
            await until(lambda s=server: s.store.answer(KVGet("k19")).value is not None)
    finally:
        for server in servers:
            await server.stop()


async def test_a_peers_file_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    a, *_ = await three_on_disk(tmp_path)
    before = recover.read_survivor(str(a))
    file = a / "raft" / "peers.json"
    for text in ("{", '[{"id": "b", "address": "h:1"}]'):
        file.write_text(text)
        with pytest.raises(RecoveryRefused):
            recover.take_peers_file(str(a), own_id="a", own_address="h:2")
        assert file.exists()
        assert recover.read_survivor(str(a)) == before


def test_a_peers_file_in_an_empty_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raft").mkdir()
    (tmp_path / "raft" / "peers.json").write_text('[{"id": "a", "address": "h:1"}]')
    with pytest.raises(RecoveryRefused, match="there is no Raft data"):
        recover.take_peers_file(str(tmp_path), own_id="a", own_address="h:1")


async def test_entries_that_would_be_given_up_are_shown_in_words(tmp_path: Path) -> None:
    a, *_ = await three_on_disk(tmp_path)
    last = recover.read_survivor(str(a)).last_index
    described = recover.describe(Loss(node_id="a", first=last, count=1), str(a))
    assert "KVSet 'k19'" in described.shown[0]


async def test_data_that_is_set_aside_leaves_an_empty_server(tmp_path: Path) -> None:
    a, *_ = await three_on_disk(tmp_path)
    moved = recover.set_aside(str(a))
    assert moved.name == "raft.before-recovery-1"
    with pytest.raises(RecoveryRefused, match="no Raft data"):
        recover.read_survivor(str(a))
