"""Archives as files: whole, damaged, too large, of others; and what the checking process makes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore import commands as c
from raftstore.archive import (
    META,
    SECRET_TABLES,
    STATE,
    SUMS,
    ArchiveError,
    ArchiveLimits,
    ArchiveReader,
)
from raftstore.archive_check import check
from raftstore.archiving import write_archive
from raftstore.errors import DecodeError
from raftstore.raft.members import bootstrap_config
from raftstore.raft.snapshot import SnapshotHeader, SnapshotWriter
from raftstore.state import StateMachine
from raftstore.state.snapshots import chunk_head
from raftstore.state.staging import LENGTH
from tests.raftstore.state.archives import frozen, said
from tests.raftstore.state.commands import POPULATED

HEADER = SnapshotHeader(
    cluster_id="c1",
    index=40,
    term=3,
    config=(1, bootstrap_config({"a": "127.0.0.1:1", "b": "127.0.0.1:2"}).encode()),
    stamp=5.0,
)


def populated() -> StateMachine:
    state = StateMachine()
    for index, command in enumerate(POPULATED, 2):
        state.apply(index, 1.0, command, c.RequestId("s", index))
    return state


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("snap") / "snap-3-40"
    with path.open("wb") as file:
        writer = SnapshotWriter(file, HEADER)
        for chunk in frozen(populated()):
            writer.add(chunk)
        writer.finish()
    out = io.BytesIO()
    write_archive(path, out, level=3, unix_clock=lambda: 1700000000.0)
    return out.getvalue()


def read(data: bytes, limits: ArchiveLimits = ArchiveLimits()) -> ArchiveReader:  # noqa: B008
    reader = ArchiveReader(io.BytesIO(data), limits)
    for _ in reader.chunks():
        pass
    return reader


def files(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar.getmembers()}


def packed(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def summed(members: dict[str, bytes]) -> dict[str, bytes]:
    """The same with checksums that fit."""
    lines = [f"{hashlib.sha256(members[n]).hexdigest()}  {n}\n" for n in (META, STATE)]
    return members | {SUMS: "".join(lines).encode()}


def test_an_archive_is_a_tar_with_checksums_that_other_tools_understand(archive):
    members = files(archive)
    assert list(members) == [META, STATE, SUMS]
    assert summed(members) == members
    meta = json.loads(members[META])
    assert (meta["Index"], meta["Term"], meta["ClusterID"]) == (40, 3, "c1")
    assert meta["ID"] == "3-40-1700000000000"
    assert [s["ID"] for s in meta["Configuration"]["Servers"]] == ["a", "b"]
    assert meta["Size"] == len(members[STATE])


def test_reading_counts_what_is_in_it(archive):
    reader = read(archive)
    counts = {table.name: table.count for table in reader.tables()}
    assert counts["KVS"] == len(populated().kv)
    assert counts["Register"] == 2
    assert not {"outcomes", "history", "staged", "restored"} & counts.keys()
    meta = json.loads(files(archive)[META])
    assert {t["Name"]: t["Count"] for t in meta["Tables"]} == counts
    assert meta["Secrets"] == [name for name in counts if name in SECRET_TABLES] != []
    assert reader.meta.index == 40


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "failed to decompress snapshot: EOF"),
        (b"garbage", "failed to decompress snapshot: unexpected EOF"),
        (b"garbage" * 9, "failed to decompress snapshot: gzip: invalid header"),
        (gzip.compress(b"x" * 2000), "failed to read snapshot"),
        (packed({"other": b"1"}), "meta.json expected, not 'other'"),
        (packed({META: b"[1]"}), "meta.json is no object"),
        (packed({META: b"{" * 5000}), "meta.json is not JSON"),
        (packed({META: b'{"Version": 1}'}), "no snapshot of lictor"),
        (packed({META: b'{"Format": "lictor-archive", "Version": 1}'}), "lacks a field"),
        (packed({META: b'{"Format": "lictor-archive", "Version": 2}'}), "has version 2 of"),
        (
            packed({META: b'{"Version": 1, "ID": "2-12-1", "Index": 12, "Term": 2, "Peers": ""}'}),
            "a snapshot of Consul (index 12)",
        ),
    ],
    # Compressed bytes hold the time, and a test must have one name in all processes of a run.
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_archive_of_ours_is_refused_by_name(data, words):
    with pytest.raises(ArchiveError) as refused:
        read(data)
    assert words in str(refused.value)


def test_a_changed_file_in_it_is_noticed(archive):
    members = files(archive)
    state = bytearray(members[STATE])
    state[len(state) // 2] ^= 1
    with pytest.raises(ArchiveError, match=r"hash check failed for \"state.bin\""):
        read(packed(members | {STATE: bytes(state)}))
    meta = members[META].replace(b'"Term": 3', b'"Term": 4')
    with pytest.raises(ArchiveError, match=r"hash check failed for \"meta.json\""):
        read(packed(members | {META: meta}))
    with pytest.raises(ArchiveError, match="SHA256SUMS expected, not its end"):
        read(packed({name: members[name] for name in (META, STATE)}))
    with pytest.raises(ArchiveError, match="something follows"):
        read(packed(members | {"more": b""}))
    with pytest.raises(ArchiveError, match=r"follows the end of state\.bin"):
        read(packed(summed(members | {STATE: members[STATE] + b"x"})))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_flipped_bit_and_no_cut_passes(archive, data):
    at = data.draw(st.integers(0, len(archive) - 1))
    if data.draw(st.booleans()):
        damaged = archive[:at]
    else:
        damaged = bytearray(archive)
        damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read(bytes(damaged))
    except DecodeError:
        return
    # Some bits say nothing: the header's time and system, or how a run of zeros was packed.
    assert gzip.decompress(bytes(damaged)) == gzip.decompress(archive)


def test_what_it_unpacks_to_is_bounded(archive):
    with pytest.raises(ArchiveError, match="unpacks to more than 3000 bytes"):
        read(archive, ArchiveLimits(unpacked_bytes_max=3000))
    bomb = packed({META: b"{}" + b" " * 3_000_000})
    with pytest.raises(ArchiveError, match="too large"):
        read(bomb)


def test_checking_gives_parts_that_make_the_state(archive):
    out = io.BytesIO()
    found = check(io.BytesIO(archive), out, ArchiveLimits())
    out.seek(0)
    state = StateMachine()
    state.apply(2, 1.0, c.BeginRestore(id="r", saved_index=found["Index"]))
    for number in range(found["Parts"]):
        (length,) = LENGTH.unpack(out.read(4))
        part = c.StageRestore(id="r", part=number, data=out.read(length))
        state.apply(3 + number, 1.0, part)
    sha256 = bytes.fromhex(found["SHA256"])
    end = c.EndRestore(id="r", parts=found["Parts"], sha256=sha256)
    assert state.apply(900, 1.0, end).value is True
    assert said(state) == said(populated())
    state.check()


def test_a_state_that_contradicts_itself_is_refused(archive):
    """Its checksums fit: somebody made it so, or a program that was wrong."""
    members = files(archive)
    stream, kept = io.BytesIO(members[STATE]), b""
    while length := int.from_bytes(stream.read(4), "big"):
        chunk = stream.read(length)
        if chunk_head(chunk)[0] != "nodes":  # sessions and names without their nodes
            kept += LENGTH.pack(length) + chunk
    forged = packed(summed(members | {STATE: kept + LENGTH.pack(0)}))
    with pytest.raises(DecodeError, match=r"contradicts itself|damaged"):
        check(io.BytesIO(forged), io.BytesIO(), ArchiveLimits())


def test_the_checking_process_prints_what_it_found(archive, tmp_path):
    for data, key in ((archive, "Parts"), (b"garbage", "Error")):
        (tmp_path / "in").write_bytes(data)
        with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as out:
            fds = [str(source.fileno()), str(out.fileno())]
            done = subprocess.run(
                [sys.executable, "-m", "raftstore.archive_check", *fds, "1000000"],
                pass_fds=(source.fileno(), out.fileno()),
                capture_output=True,
                check=False,
            )
        assert key in json.loads(done.stdout), done.stderr
