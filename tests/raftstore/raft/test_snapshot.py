"""The form of a snapshot file: what was written is read, and nothing else passes."""

import io
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore.errors import DecodeError, JournalFull
from raftstore.raft import snapshot
from raftstore.raft.snapshot import (
    FRAME,
    MAGIC,
    SnapshotFiles,
    SnapshotHeader,
    SnapshotReader,
    SnapshotWriter,
)
from tests.raftstore.raft.dying import PHASES
from tests.strategies import scaled

HEADER = SnapshotHeader(cluster_id="c", index=70, term=3, config=(1, b"members"), stamp=1234.5)


def written(chunks, header=HEADER):
    file = io.BytesIO()
    writer = SnapshotWriter(file, header)
    for chunk in chunks:
        writer.add(chunk)
    digest = writer.finish()
    data = file.getvalue()
    assert writer.size == len(data)
    assert data.endswith(digest)
    return data


def read(data):
    reader = SnapshotReader(io.BytesIO(data))
    return reader.header, list(reader.chunks()), reader.sha256


@given(chunks=st.lists(st.binary(max_size=300), max_size=5))
def test_what_was_written_is_read(chunks):
    header, found, digest = read(written(chunks))
    assert (header, found) == (HEADER, chunks)
    assert len(digest) == 32


def test_equal_contents_make_equal_files():
    assert written([b"a", b"b"]) == written([b"a", b"b"])


EXAMPLE = written([b"one" * 50, b"two" * 50, b""])


@pytest.mark.parametrize("position", range(0, len(EXAMPLE)))
def test_every_flipped_bit_is_found(position):
    data = bytearray(EXAMPLE)
    data[position] ^= 1 << (position % 8)
    with pytest.raises(DecodeError):
        read(bytes(data))


@pytest.mark.parametrize("length", range(0, len(EXAMPLE)))
def test_every_shortened_file_is_found(length):
    with pytest.raises(DecodeError):
        read(EXAMPLE[:length])


def test_bytes_behind_the_end_are_found():
    with pytest.raises(DecodeError):
        read(EXAMPLE + b"x")


@settings(max_examples=scaled(300))
@given(data=st.binary(max_size=200), start=st.booleans())
def test_random_bytes_are_refused(data, start):
    with pytest.raises(DecodeError):
        read(MAGIC + data if start else data)


def test_a_chunk_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(snapshot, "CHUNK_BYTES_MAX", 1000)
    with pytest.raises(DecodeError, match="too large"):
        read(written([bytes(1001)]))
    assert read(written([bytes(1000)]))


def test_all_chunks_together_have_a_bound():
    reader = SnapshotReader(io.BytesIO(written([b"x" * 60, b"x" * 60])), bytes_max=100)
    with pytest.raises(DecodeError, match="too large"):
        list(reader.chunks())


def test_a_length_that_lies_costs_no_memory():
    head = EXAMPLE[: EXAMPLE.index(zlib.compress(b"one" * 50, 1)) - FRAME.size]
    with pytest.raises(DecodeError, match="chunk: too large"):
        read(head + FRAME.pack(2**32 - 1, 0))


def test_another_format_is_named():
    body = b"\x96\x09" + b"\xc0" * 5
    with pytest.raises(DecodeError, match="format 9 is not known"):
        read(MAGIC + FRAME.pack(len(body), zlib.crc32(body)) + body)


def test_the_newest_is_the_one_with_the_highest_index(tmp_path):
    files = SnapshotFiles(tmp_path)
    for name in ("snap-2-9", "snap-1-10", "snap-3-100", "snap-x-1", "other", "snap-1-200.tmp"):
        files.path(name).write_bytes(b"")
    assert files.names() == ["snap-3-100", "snap-1-10", "snap-2-9"]
    files.discard_old("snap-1-10")
    assert files.names() == ["snap-3-100", "snap-1-10", "snap-2-9"]
    files.discard_unfinished("snap-1-10")
    assert files.names() == ["snap-1-10", "snap-2-9"]
    assert not files.path("snap-1-200.tmp").exists()
    files.discard_unfinished(None)
    assert files.names() == []


def test_no_room_is_told_as_such(tmp_path):
    files = SnapshotFiles(tmp_path)
    files._path = tmp_path / "gone"
    with pytest.raises(JournalFull):
        files.create("x")


# -- kill -9 between any two steps

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("phase", PHASES)
def test_kill_9_after_any_step_leaves_a_node_that_starts_with_everything(tmp_path, phase):
    command = [sys.executable, "-m", "tests.raftstore.raft.dying_process", str(tmp_path), phase]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    died = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, timeout=50, check=False
    )
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    acknowledged = int(died.stdout.split()[-1])
    again = subprocess.run(
        [*command[:-1], "none"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=50,
        check=True,
    )
    words = again.stdout.decode().split()
    assert words[0] == "found", words
    assert int(words[1]) >= acknowledged
