"""Snapshot files: their form, and the order of writing in which a crash leaves no half of one.

A file is a magic, a header (cluster, index, term, configuration, stamp) with its checksum, chunks
(length, CRC-32, zlib level 1), and a footer with the number of chunks and the SHA-256 of all before
it. What is in a chunk is the state machine's business. The header holds nothing that differs
between servers, so equal states at one index make equal files.

A file is written under another name, synced, renamed, and the directory synced, before anything
points to it; it is read back and checked as a whole first. Two are kept: the one pointed to and the
one before it. Everything here blocks and belongs on a thread; nothing here decides when.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgpack

from raftstore.errors import DecodeError, JournalFull
from raftstore.raft.log import SnapshotPointer
from raftstore.raft.lost_disk import NUMBER_MAX

MAGIC = b"LICTSNP1"
FORMAT = 1
FRAME = struct.Struct(">II")  # length, crc
END = struct.Struct(">IQ")  # zero, chunk count
DIGEST_BYTES = 32
HEADER_BYTES_MAX = 64 * 1024
CHUNK_BYTES_MAX = 64 * 1024 * 1024
"""The largest chunk, packed or unpacked; a row is never near it (one command is at most 1 MiB)."""
TEXT_CHARS_MAX = 128
KEPT = 2
NAME = re.compile(r"snap-(\d{1,19})-(\d{1,19})")
TEMP_SUFFIX = ".tmp"
INCOMING = "incoming" + TEMP_SUFFIX
REMEDY = (
    "Restore the file from a copy, or remove this server from the cluster, delete its data"
    " directory, and let it join again under a new node id."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotHeader:
    """Where in the log's history the state in the file belongs."""

    cluster_id: str
    index: int
    term: int
    config: tuple[int, bytes]
    """(index, encoded configuration) in force at ``index``."""
    stamp: float
    """Replicated time, in seconds."""

    @property
    def name(self) -> str:
        """The file's name."""
        return f"snap-{self.term}-{self.index}"


def _encode_header(header: SnapshotHeader) -> bytes:
    body: bytes = msgpack.packb(
        [
            FORMAT,
            header.cluster_id,
            header.index,
            header.term,
            list(header.config),
            header.stamp,
        ]
    )
    return FRAME.pack(len(body), zlib.crc32(body)) + body


def _decode_header(body: bytes) -> SnapshotHeader:
    try:
        fields: Any = msgpack.unpackb(body, use_list=True, max_map_len=0, max_ext_len=0)
    except (ValueError, TypeError) as error:
        raise DecodeError(f"header: {error}") from None
    match fields:
        case [
            int(number),
            str(cluster_id),
            int(index),
            int(term),
            [int(config_index), bytes(config)],
            float(stamp),
        ] if (
            number == FORMAT
            and len(cluster_id) <= TEXT_CHARS_MAX
            and 0 < config_index <= index <= NUMBER_MAX
            and 0 <= term <= NUMBER_MAX
        ):
            return SnapshotHeader(
                cluster_id=cluster_id,
                index=index,
                term=term,
                config=(config_index, config),
                stamp=stamp,
            )
        case [int(number), *_] if number != FORMAT:
            raise DecodeError(f"format {number} is not known here")
        case _:
            raise DecodeError("header: wrong shape")


class SnapshotWriter:
    """Writes one file. After ``close`` without ``finish`` the file is worth nothing."""

    def __init__(self, file: IO[bytes], header: SnapshotHeader) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._count = 0
        self.size = 0
        self._write(MAGIC + _encode_header(header))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    def add(self, chunk: bytes) -> None:
        """Append a chunk."""
        packed = zlib.compress(chunk, 1)
        self._write(FRAME.pack(len(packed), zlib.crc32(packed)))
        self._write(packed)
        self._count += 1

    def finish(self) -> bytes:
        """Write the footer; everything is with the operating system then. Gives the digest."""
        self._write(END.pack(0, self._count))
        digest = self._digest.digest()
        self._file.write(digest)
        self._file.flush()
        self.size += len(digest)
        return digest


class SnapshotReader:
    """Reads one file from start to end and checks all of it; raises DecodeError at the first flaw.

    The checksum of the whole is known only behind the last chunk: nothing that was read may be
    used before ``chunks`` has ended.
    """

    def __init__(self, file: IO[bytes], *, bytes_max: int = NUMBER_MAX) -> None:
        """``bytes_max``: of all chunks together, unpacked."""
        self._file = file
        self._room = bytes_max
        self._hash = hashlib.sha256()
        self.sha256 = b""
        """Of the file; empty until ``chunks`` has ended."""
        if self._take(len(MAGIC)) != MAGIC:
            raise DecodeError("not a snapshot")
        length, crc = FRAME.unpack(self._take(FRAME.size))
        if length > HEADER_BYTES_MAX:
            raise DecodeError("header: too large")
        body = self._take(length)
        if zlib.crc32(body) != crc:
            raise DecodeError("header: checksum differs")
        self.header = _decode_header(body)

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise DecodeError("the file ends too early")
        self._hash.update(data)
        return data

    def chunks(self) -> Iterator[bytes]:
        """Every chunk, unpacked; at the end the whole file has been checked."""
        count = 0
        while True:
            (length,) = struct.unpack(">I", self._take(4))
            if length == 0:
                break
            if length > CHUNK_BYTES_MAX:
                raise DecodeError("chunk: too large")
            (crc,) = struct.unpack(">I", self._take(4))
            packed = self._take(length)
            if zlib.crc32(packed) != crc:
                raise DecodeError(f"chunk {count}: checksum differs")
            chunk = _unpack(packed)
            self._room -= len(chunk)
            if self._room < 0:
                raise DecodeError("too large")
            yield chunk
            count += 1
        (expected,) = struct.unpack(">Q", self._take(8))
        digest = self._hash.digest()
        if expected != count or self._file.read(DIGEST_BYTES + 1) != digest:
            raise DecodeError("the checksum of the whole differs")
        self.sha256 = digest


def _unpack(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, CHUNK_BYTES_MAX)
    except zlib.error as error:
        raise DecodeError(f"chunk: {error}") from None
    if not unpacker.eof or unpacker.unused_data:
        raise DecodeError("chunk: too large, or cut short")
    return data


class SnapshotFiles:
    """The directory of one server's snapshots. Every step of writing is a method of its own, so
    that tests can stop between any two."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Where a file of this name is."""
        return self._path / name

    def create(self, name: str) -> IO[bytes]:
        """An empty file to write to, under a name that nothing points to. Raises JournalFull."""
        with writing():
            return self.path(name).open("wb", buffering=256 * 1024)

    def seal(self, file: IO[bytes]) -> None:
        """Everything written is on disk when this returns. Raises JournalFull."""
        with writing():
            file.flush()
            os.fsync(file.fileno())
            file.close()

    def publish(self, temporary: str, name: str) -> None:
        """Give a sealed file its name."""
        self.path(temporary).rename(self.path(name))

    def sync(self) -> None:
        """Renames and removals so far are on disk when this returns."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def verify(self, name: str) -> tuple[SnapshotHeader, SnapshotPointer]:
        """Read a file back as a whole. Raises DecodeError, or OSError if it cannot be read."""
        path = self.path(name)
        with path.open("rb") as file:
            reader = SnapshotReader(file)
            for _ in reader.chunks():
                pass
            header = reader.header
            return header, SnapshotPointer(
                name=header.name,
                index=header.index,
                term=header.term,
                size=os.fstat(file.fileno()).st_size,
                sha256=reader.sha256,
            )

    def names(self) -> list[str]:
        """Finished files, the newest (by index, then term) first."""
        found = [NAME.fullmatch(path.name) for path in self._path.iterdir()]
        keyed = [(int(m[2]), int(m[1]), m.string) for m in found if m is not None]
        return [name for _, _, name in sorted(keyed, reverse=True)]

    def discard(self, *names: str) -> None:
        """Remove files, if they are there."""
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def discard_old(self, current: str) -> None:
        """Keep the current one and the newest before it, and what may become current."""
        names = self.names()
        at = names.index(current) if current in names else 0
        self.discard(*names[at + KEPT :])

    def discard_unfinished(self, current: str | None) -> None:
        """What a process that died has left, and what it had not come to point to."""
        for path in self._path.glob("*" + TEMP_SUFFIX):
            path.unlink(missing_ok=True)
        names = self.names()
        if current is None:
            self.discard(*names)
        elif current in names:
            self.discard(*names[: names.index(current)])

    def free_bytes(self) -> int:
        """Room on the file system."""
        stat = os.statvfs(self._path)
        return stat.f_bavail * stat.f_frsize


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Whatever goes wrong with writing a snapshot is a lack of room, and harms nothing."""
    try:
        yield
    except OSError as error:
        raise JournalFull(f"a snapshot cannot be written: {error}") from error
