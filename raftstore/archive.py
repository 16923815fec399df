"""Archives of the state: what operators save, keep elsewhere, look into and restore.

An archive is a gzipped tar of three files, as Consul's snapshots are, so that tools around them
see what they know: ``meta.json`` says what it is, ``state.bin`` is the state, and ``SHA256SUMS``
has the checksums of both in the form of sha256sum. The state is the chunks of a snapshot of the log
(state/snapshots.py) with their lengths in front, less what belongs to the log: outcomes of
requests, the journal of changes, and who the servers are.

Here is the form, and reading, which trusts nothing and is bounded; the checksums are known only at
the end, so nothing may be used before. It blocks and belongs on a thread or into a process of its
own. Writing is archiving.py's.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from raftstore.errors import DecodeError
from raftstore.state.snapshots import CHUNK_BYTES_MAX, chunk_head
from raftstore.state.staging import LENGTH

FORMAT = "lictor-archive"
FORMAT_VERSION = 1
META, STATE, SUMS = "meta.json", "state.bin", "SHA256SUMS"
#: The two small files of an archive.
SMALL_BYTES_MAX = 1024 * 1024
#: Names of tables in an archive that is looked into; the log's sections keep their own.
TABLE_NAMES = {
    "kv": "KVS",
    "tombstones": "Tombstone",
    "nodes": "Register",
    "names": "ServiceName",
    "connect": "ConnectName",
    "indexes": "Index",
    "sessions": "Session",
    "session-ends": "SessionEnd",
    "lock-delays": "LockDelay",
    "intentions": "Intention",
    "ca": "ConnectCA",
    "autopilot": "Autopilot",
    "config-entries": "ConfigEntry",
    "acl-tokens": "ACLToken",
    "acl-policies": "ACLPolicy",
    "acl-roles": "ACLRole",
    "acl-auth-methods": "ACLAuthMethod",
    "acl-binding-rules": "ACLBindingRule",
    "prepared-queries": "PreparedQuery",
    "coordinates": "Coordinate",
    "acl-facts": "ACLFact",
    "virtual-addresses": "VirtualAddress",
    "ca-revocations": "RevokedLeaf",
    "groups": "Group",
    "head": "Head",
}
#: Those that hold what nobody else may have: secrets of tokens and of auth methods, signing keys,
#: and among the config entries the keys of inline certificates.
SECRET_TABLES = ("ACLToken", "ACLAuthMethod", "ConnectCA", "ConfigEntry")


class ArchiveError(DecodeError):
    """This is no archive, or a damaged one. The text is for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSize:
    """Rows of one table, and their bytes before compression."""

    name: str
    count: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveMeta:
    """Where and when an archive was saved, and what is in it. ``size`` is that of the state."""

    id: str
    index: int
    term: int
    version: int = FORMAT_VERSION
    cluster_id: str = ""
    saved_at: float = 0.0
    """Unix time in seconds."""
    config_index: int = 0
    servers: tuple[tuple[str, str, str], ...] = ()
    """(node id, address, role) of those that made up the cluster. Never restored."""
    size: int = 0
    tables: tuple[TableSize, ...] = ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """Tables in it that hold secrets. Keys and values of users may be secrets as well."""
        return secret_tables(self.tables)


def secret_tables(tables: tuple[TableSize, ...]) -> tuple[str, ...]:
    """Those of these tables that have rows and hold secrets."""
    return tuple(each.name for each in tables if each.count and each.name in SECRET_TABLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """What is read at most."""

    #: All of an archive, unpacked: what a file of some megabytes may make of itself.
    unpacked_bytes_max: int = 64 * 1024 * 1024 * 1024


@dataclass(slots=True)
class Tables:
    """Counts chunks of the state as they pass."""

    sizes: dict[str, list[int]] = field(default_factory=dict)

    def count(self, chunk: bytes) -> None:
        """One more chunk. Raises DecodeError."""
        section, rows = chunk_head(chunk)
        held = self.sizes.setdefault(section, [0, 0])
        held[0] += rows
        held[1] += len(chunk)

    def found(self) -> tuple[TableSize, ...]:
        """By size, the largest first."""
        ordered = sorted(self.sizes.items(), key=lambda item: (-item[1][1], item[0]))
        return tuple(
            TableSize(name=TABLE_NAMES.get(name, name), count=rows, bytes=size)
            for name, (rows, size) in ordered
        )


# -- reading -------------------------------------------------------------------------------------


class _Bounded(io.RawIOBase):
    """What a gzip member unpacks to, up to a limit, with the words of Consul's client for flaws."""

    def __init__(self, file: IO[bytes], bytes_max: int) -> None:
        head = file.read(10)
        if not head:
            raise ArchiveError("failed to decompress snapshot: EOF")
        if len(head) < 10:
            raise ArchiveError("failed to decompress snapshot: unexpected EOF")
        if head[:3] != b"\x1f\x8b\x08":
            raise ArchiveError("failed to decompress snapshot: gzip: invalid header")
        self._gzip = gzip.GzipFile(fileobj=_Behind(head, file), mode="rb")  # type: ignore[call-overload]
        self._left = bytes_max
        self._max = bytes_max

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            data: bytes = self._gzip.read(size)
        except EOFError:
            raise ArchiveError("failed to decompress snapshot: unexpected EOF") from None
        except (OSError, zlib.error) as error:
            raise ArchiveError(f"failed to decompress snapshot: {error}") from None
        self._left -= len(data)
        if self._left < 0:
            raise ArchiveError(
                f"the snapshot is too large: it unpacks to more than {self._max} bytes"
            )
        return data


class _Behind:
    """A file whose first bytes were read already."""

    def __init__(self, head: bytes, file: IO[bytes]) -> None:
        self._head = head
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._file.read(size)
        if size < 0:
            size = len(self._head)
        taken, self._head = self._head[:size], self._head[size:]
        return taken

    def seekable(self) -> bool:
        return False


class ArchiveReader:
    """Reads one archive from start to end. Raises ArchiveError at the first flaw."""

    def __init__(self, file: IO[bytes], limits: ArchiveLimits = ArchiveLimits()) -> None:
        self._unpacked = _Bounded(file, limits.unpacked_bytes_max)
        self._sums: dict[str, str] = {}
        self._tables = Tables()
        try:
            self._tar = tarfile.open(fileobj=self._unpacked, mode="r|")  # noqa: SIM115  ends with us
            self.meta = _read_meta(self._small(META))
        except tarfile.TarError as error:
            raise ArchiveError(f"failed to read snapshot: {error}") from None

    def _next(self, name: str) -> tuple[int, IO[bytes]]:
        member = self._tar.next()
        if member is None or not member.isreg() or member.name != name:
            found = "its end" if member is None else repr(member.name[:64])
            raise ArchiveError(f"failed to read snapshot: {name} expected, not {found}")
        file = self._tar.extractfile(member)
        assert file is not None, "a regular file has content"
        return member.size, file

    def _small(self, name: str) -> bytes:
        size, file = self._next(name)
        if size > SMALL_BYTES_MAX:
            raise ArchiveError(f"failed to read snapshot: {name} is too large")
        data = _exactly(file, size)
        self._sums[name] = hashlib.sha256(data).hexdigest()
        return data

    def chunks(self) -> Iterator[bytes]:
        """Every chunk of the state; at the end the whole archive has been checked."""
        try:
            yield from self._chunks()
            self._check_sums(self._small(SUMS))
            if self._tar.next() is not None:
                raise ArchiveError("failed to read snapshot: something follows its end")
            while self._unpacked.read(64 * 1024):
                pass  # the gzip trailer has a checksum too
        except tarfile.TarError as error:
            raise ArchiveError(f"failed to read snapshot: {error}") from None

    def _chunks(self) -> Iterator[bytes]:
        size, file = self._next(STATE)
        digest = hashlib.sha256()
        while True:
            head = _exactly(file, LENGTH.size)
            digest.update(head)
            size -= LENGTH.size
            (length,) = LENGTH.unpack(head)
            if not length:
                break
            if length > min(CHUNK_BYTES_MAX, size):
                raise ArchiveError("failed to read snapshot: a chunk is too large")
            chunk = _exactly(file, length)
            digest.update(chunk)
            size -= length
            self._tables.count(chunk)
            yield chunk
        if size:
            raise ArchiveError(f"failed to read snapshot: something follows the end of {STATE}")
        self._sums[STATE] = digest.hexdigest()

    def _check_sums(self, listed: bytes) -> None:
        lines = [line.split() for line in listed.decode("utf-8", "replace").splitlines()]
        given = {words[1]: words[0] for words in lines if len(words) == 2}
        for name in (META, STATE):
            if given.get(name) != self._sums[name]:
                raise ArchiveError(
                    f'failed checking integrity of snapshot: hash check failed for "{name}"'
                )

    def tables(self) -> tuple[TableSize, ...]:
        """What was in it; complete when ``chunks`` has ended."""
        return self._tables.found()


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise ArchiveError("failed to read snapshot: unexpected EOF")
    return data


def _read_meta(data: bytes) -> ArchiveMeta:
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise ArchiveError(f"failed to read snapshot: {META} is not JSON") from None
    if not isinstance(found, dict):
        raise ArchiveError(f"failed to read snapshot: {META} is no object")
    if "Format" not in found and {"ID", "Index", "Term"} <= found.keys():
        raise ArchiveError(
            f"this is a snapshot of Consul (index {found['Index']}), which only Consul can read;"
            " keys can be moved with `consul kv export` and `lictor kv import`"
        )
    if found.get("Format") != FORMAT:
        raise ArchiveError("this is no snapshot of lictor")
    if found.get("Version") != FORMAT_VERSION:
        raise ArchiveError(
            f"this snapshot has version {str(found.get('Version'))[:20]} of the format,"
            f" and this program reads version {FORMAT_VERSION}: use the one that saved it"
        )
    match found:
        case {
            "ID": str(archive_id),
            "Index": int(index),
            "Term": int(term),
            "ClusterID": str(cluster_id),
            "Size": int(size),
        } if 0 < index < 1 << 63 and 0 <= term < 1 << 63 and len(cluster_id) <= 128:
            saved_at = found.get("SavedAt")
            return ArchiveMeta(
                id=archive_id[:128],
                index=index,
                term=term,
                cluster_id=cluster_id,
                saved_at=float(saved_at) if isinstance(saved_at, int | float) else 0.0,
                size=size,
            )
        case _:
            raise ArchiveError(f"failed to read snapshot: {META} lacks a field")
