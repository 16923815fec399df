"""Makes an archive (archive.py) of a snapshot of the log. It blocks: a thread's work."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from raftstore.archive import FORMAT, META, STATE, SUMS, ArchiveMeta, Tables
from raftstore.raft.members import ROLE_NAMES, VOTER, Config, decode_config
from raftstore.raft.snapshot import SnapshotHeader, SnapshotReader
from raftstore.state.snapshots import is_archived
from raftstore.state.staging import LENGTH


def write_archive(
    source: Path, out: IO[bytes], *, level: int, unix_clock: Callable[[], float] = time.time
) -> ArchiveMeta:
    """Make an archive of a snapshot of the log, read twice: a tar names sizes in front.

    Raises DecodeError for a damaged snapshot, OSError.
    """
    digest, size, tables = hashlib.sha256(), 0, Tables()
    with source.open("rb") as file:
        reader = SnapshotReader(file)
        for piece in _stream(_archived(reader, tables)):
            digest.update(piece)
            size += len(piece)
        meta = _meta(reader.header, unix_clock(), size, tables)
        file.seek(0)
        sums = [(META, hashlib.sha256(_meta_json(meta)).hexdigest()), (STATE, digest.hexdigest())]
        with (
            gzip.GzipFile(fileobj=out, mode="wb", compresslevel=level, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as tar,
        ):
            stamp = int(meta.saved_at)
            _put(tar, META, len(_meta_json(meta)), io.BytesIO(_meta_json(meta)), stamp)
            again = _archived(SnapshotReader(file), Tables())
            _put(tar, STATE, size, _Pieces(_stream(again)), stamp)
            text = "".join(f"{digest}  {name}\n" for name, digest in sums).encode()
            _put(tar, SUMS, len(text), io.BytesIO(text), stamp)
    out.flush()
    return meta


def _archived(reader: SnapshotReader, tables: Tables) -> Iterator[bytes]:
    for chunk in reader.chunks():
        if is_archived(chunk):
            tables.count(chunk)
            yield chunk


def _stream(chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        yield LENGTH.pack(len(chunk))
        yield chunk
    yield LENGTH.pack(0)


class _Pieces:
    """An iterator of bytes as a file to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = bytearray()

    def read(self, size: int) -> bytes:
        """That many bytes, fewer at the end."""
        while len(self._held) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._held += piece
        taken = bytes(memoryview(self._held)[:size])
        del self._held[:size]
        return taken


def _put(tar: tarfile.TarFile, name: str, size: int, file: Any, stamp: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, stamp
    tar.addfile(info, file)


def _meta(header: SnapshotHeader, saved_at: float, size: int, tables: Tables) -> ArchiveMeta:
    config_index, encoded = header.config
    config: Config = decode_config(encoded)
    return ArchiveMeta(
        id=f"{header.term}-{header.index}-{int(saved_at * 1000)}",
        index=header.index,
        term=header.term,
        cluster_id=header.cluster_id,
        saved_at=saved_at,
        config_index=config_index,
        servers=tuple(
            (node_id, member.address, ROLE_NAMES[member.role])
            for node_id, member in sorted(config.members.items())
        ),
        size=size,
        tables=tables.found(),
    )


def _meta_json(meta: ArchiveMeta) -> bytes:
    suffrage = {ROLE_NAMES[VOTER]: "Voter"}
    shown = {
        "Format": FORMAT,
        "Version": meta.version,
        "ID": meta.id,
        "Index": meta.index,
        "Term": meta.term,
        "ClusterID": meta.cluster_id,
        "SavedAt": meta.saved_at,
        "ConfigurationIndex": meta.config_index,
        "Configuration": {
            "Servers": [
                {"ID": node_id, "Address": address, "Suffrage": suffrage.get(role, "Nonvoter")}
                for node_id, address, role in meta.servers
            ]
        },
        "Size": meta.size,
        # Whoever finds the file is told before reading on that it is none to pass around.
        "Secrets": list(meta.secrets),
        "Tables": [
            {"Name": table.name, "Count": table.count, "Size": table.bytes} for table in meta.tables
        ],
    }
    return json.dumps(shown, indent=2).encode() + b"\n"
