"""The journal in LMDB: log, term, vote, configuration, each batch in one synced transaction.

Every row of entries carries a CRC-32 (``log_rows``), and so does the hard state; both are checked
whenever they are read, and the whole log once at opening. Damage is never repaired here: a
server that forgot what it acknowledged must not take part, so it refuses to start and says what to
do. LMDB commits by two barriers and leaves no torn tail; its sync defaults are never relaxed.

Room runs out in three steps. From ``PRESSED_SHARE`` of the map on, a snapshot is asked for, so that
the log can be trimmed. From ``FULL_SHARE`` on, or when the file system is about to be full, no
payload is taken in, and terms and votes still find room. If even they do not, the write fails with
JournalFull, and nothing of it has happened.
"""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lmdb
import msgpack

from raftstore.errors import CorruptState, JournalFull
from raftstore.raft.log import (
    ENTRY_OVERHEAD_BYTES,
    Batch,
    Entry,
    HardState,
    Journal,
    SnapshotPointer,
)
from raftstore.raft.log_rows import KEY, DamagedRow, entries_of, last_of, rows_of
from raftstore.raft.members import UNTOLD_DISK, Disk
from raftstore.raft.preallocation import step_from

FORMAT = 4
FORMATS = (1, 2, 3, 4)
"""1 knew no snapshots, 2 no disk ids, 3 only rows of one entry. What 3 wrote is read as it is."""
STATE_KEY = b"state"
FULL_SHARE = 0.95
"""Above this share of the map, no payload is taken in; the rest is kept for terms and votes."""
PRESSED_SHARE = 0.80
"""Above this share of the map, a snapshot is due and the log is trimmed as far as it can be."""
PAGES_HELD = 32
"""LMDB's own pages, and those freed so lately that they cannot be used again yet."""
WRITE_SHARE = 2.5
"""Pages that a transaction may touch per payload byte, tree and old versions included."""
MEASURED_S = 0.25
MEASURED_BYTES = 256 * 1024
"""Room is measured when so much time has passed or so much was written, and always once it is
short: it takes as many looks at the file as the write itself."""
REMEDY = (
    "The data of this server cannot be trusted. Remove this server from the cluster, delete its"
    " data directory, and let it join again under a new node id."
)


class LmdbJournal(Journal):
    """Opens (or makes) the environment under ``path``. Raises CorruptState on any damage."""

    def __init__(
        self,
        path: Path | str,
        *,
        map_bytes: int = 4096 * 1024 * 1024,
        tail_entries_max: int = 50_000,
        tail_bytes_max: int = 64 * 1024 * 1024,
        reserve_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        """``reserve_bytes``: what stays free on the file system for terms, votes and others.

        Raises JournalFull if a journal cannot even be begun there.
        """
        self._path = Path(path)
        self._file = self._path / "data.mdb"
        self._map_bytes = map_bytes
        self._reserve_bytes = reserve_bytes
        self._bytes_since_snapshot = 0
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._env = lmdb.open(
                str(self._path), map_size=map_bytes, max_dbs=2, subdir=True, mode=0o600
            )
        except lmdb.DiskError as error:
            raise JournalFull(f"{self._path}: {error}: free some disk space") from error
        except lmdb.Error as error:
            raise CorruptState(f"{self._path}: {error}. {REMEDY}") from error
        try:
            self._page_bytes = self._env.stat()["psize"]
            self._check_file_size()
            self._log_db = self._env.open_db(b"log")
            self._meta_db = self._env.open_db(b"meta")
            self._free_bytes = self.measure_free()
            self._used_bytes = self._measure()
            state, tail = self._load(tail_entries_max, tail_bytes_max)
        except lmdb.Error as error:
            self._env.close()
            raise CorruptState(f"{self._path}: {error}. {REMEDY}") from error
        except CorruptState:
            self._env.close()
            raise
        self._saved_first = state.first_index
        self._file_bytes = self._file.stat().st_size
        self._refused = False
        self._unmeasured_bytes = 0
        self._measured_at = 0.0
        super().__init__(
            state,
            tail,
            tail_entries_max=tail_entries_max,
            tail_bytes_max=tail_bytes_max,
            bytes_since_snapshot=self._bytes_since_snapshot,
        )

    def _check_file_size(self) -> None:
        """Reading a mapped page beyond the end of a shortened file would kill the process."""
        used = (self._env.info()["last_pgno"] + 1) * self._page_bytes
        size = self._file.stat().st_size
        if size < used:
            raise CorruptState(f"{self._path}: file has {size} of {used} bytes. {REMEDY}")

    def _measure(self) -> int:
        """Pages that hold something; what was deleted is used again before the file grows."""
        with self._env.begin() as txn:
            pages = sum(
                found["branch_pages"] + found["leaf_pages"] + found["overflow_pages"]
                for found in (txn.stat(self._log_db), txn.stat(self._meta_db))
            )
        pages = min(pages + PAGES_HELD, self._env.info()["last_pgno"] + 1)
        return int(pages * self._page_bytes)

    def measure_free(self) -> int:
        """Bytes that the journal may still take on its file system."""
        stat = os.statvfs(self._path)
        return stat.f_bavail * stat.f_frsize

    def shortage(self) -> str:
        """What an operator should know at start if the map may outgrow the disk; else empty."""
        size = self._file.stat().st_size
        room = size + self._free_bytes - self._reserve_bytes
        if self._map_bytes <= room:
            return ""
        return (
            f"{self._path}: the journal may grow to {self._map_bytes} bytes, but the disk has room"
            f" for {max(0, room)} only; writes stop when {self._reserve_bytes} bytes are left."
            " Free some space, or set a smaller journal"
        )

    # -- opening

    def _load(self, entries_max: int, bytes_max: int) -> tuple[HardState, list[Entry]]:
        with self._env.begin() as txn:
            state = self._load_state(txn.get(STATE_KEY, db=self._meta_db))
            tail: list[Entry] = []
            tail_bytes = 0
            expected = state.first_index + 1
            last_term = state.first_term
            snapshot_index = state.snapshot.index if state.snapshot is not None else 0
            cursor = txn.cursor(db=self._log_db)
            for entry in self._from(cursor, expected):  # what lies below waits for being deleted
                if entry[1] != expected or entry[2] < last_term:
                    raise CorruptState(f"{self._path}: entry {expected} is missing. {REMEDY}")
                expected, last_term = expected + 1, entry[2]
                tail.append(entry)
                tail_bytes += len(entry[0])
                if entry[1] > snapshot_index:
                    self._bytes_since_snapshot += len(entry[0]) + ENTRY_OVERHEAD_BYTES
                if len(tail) > 2 * entries_max or tail_bytes > 2 * bytes_max:
                    del tail[: len(tail) // 2]
                    tail_bytes = sum(len(e[0]) for e in tail)
        if state.commit >= expected:
            raise CorruptState(
                f"{self._path}: committed up to {state.commit}, but the log ends at"
                f" {expected - 1}. {REMEDY}"
            )
        if state.first_index > snapshot_index or snapshot_index >= expected:
            raise CorruptState(
                f"{self._path}: the log ({state.first_index} to {expected - 1}) and the snapshot"
                f" (up to {snapshot_index}) do not meet. {REMEDY}"
            )
        return state, tail

    def _load_state(self, data: bytes | None) -> HardState:
        if data is None:
            return HardState()
        if zlib.crc32(data[4:]) != int.from_bytes(data[:4], "big"):
            raise CorruptState(f"{self._path}: hard state: checksum differs. {REMEDY}")
        try:
            number, *fields = msgpack.unpackb(data[4:], use_list=True)
            if number not in FORMATS:
                raise CorruptState(
                    f"{self._path}: written by another version of lictor (format {number}); run"
                    " that version"
                )
            return _decode_state(fields)
        except (ValueError, TypeError) as error:
            raise CorruptState(f"{self._path}: hard state: {error}. {REMEDY}") from None

    def _from(self, cursor: Any, index: int) -> Iterator[Entry]:
        """The entries from an index on, in the order of the table."""
        if _to_row(cursor, index):
            for key, value in cursor:
                for entry in self._entries(key, value):
                    if entry[1] >= index:
                        yield entry

    def _entries(self, key: bytes, value: bytes) -> list[Entry]:
        try:
            return entries_of(key, value)
        except DamagedRow as error:
            raise CorruptState(f"{self._path}: {error}. {REMEDY}") from None

    # -- the disk thread

    def persist(self, batch: Batch) -> None:
        """One transaction: cut, entries, hard state; durable when this returns.

        Raises JournalFull if there is no room; then nothing has changed.
        """
        try:
            with self._env.begin(write=True) as txn:
                if batch.clear:
                    txn.drop(self._log_db, delete=False)
                if batch.cut_from is not None:
                    self._cut(txn, batch.cut_from)
                for key, value in rows_of(batch.entries):
                    if not txn.put(key, value, append=True, db=self._log_db):
                        raise CorruptState(f"{self._path}: the log is not what it was. {REMEDY}")
                txn.put(STATE_KEY, _encode_state(batch.state), db=self._meta_db)
                self.on_sync()
        except lmdb.MapFullError as error:
            self._refused = True
            raise JournalFull(
                f"{self._path}: the journal's map of {self._map_bytes} bytes is full; start with a"
                " larger one"
            ) from error
        except lmdb.DiskError as error:
            self._refused = True
            raise JournalFull(f"{self._path}: the disk is full ({error})") from error
        self._refused = False
        self._saved_first = batch.state.first_index
        self._unmeasured_bytes += sum([len(entry[0]) for entry in batch.entries])
        if self._measuring_is_due():
            self._take_measure()

    def preallocate(self) -> None:
        """Fill the file with zeros some way ahead (``preallocation``), if there is room."""
        step = step_from(
            used=(self._env.info()["last_pgno"] + 1) * self._page_bytes,
            size=self._file_bytes,
            limit=self._map_bytes,
            free=self._free_bytes,
            reserve=self._reserve_bytes,
        )
        if step is None:
            return
        begin, count = step
        self._file_bytes = begin + count  # also if it fails: then the file grows as it would
        with contextlib.suppress(OSError), self._file.open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), bytes(count), begin)

    def _measuring_is_due(self) -> bool:
        return (
            time.monotonic() > self._measured_at + MEASURED_S
            or self._unmeasured_bytes > MEASURED_BYTES
            or self._expected_bytes > self._map_bytes // 2
            or self._free_bytes < 2 * self._reserve_bytes
        )

    def _take_measure(self) -> None:
        self._used_bytes = self._measure()
        self._free_bytes = self.measure_free()
        self._unmeasured_bytes = 0
        self._measured_at = time.monotonic()

    def rewrite(self, entries: Sequence[Entry], state: HardState) -> None:
        """Replace stored entries, index by index, and the hard state, in one transaction.

        For the recovery of a server that does not run (raftstore/recover.py); this object is of no
        use afterwards.
        """
        changed = {entry[1]: entry for entry in entries}
        with self._env.begin(write=True) as txn, txn.cursor(db=self._log_db) as cursor:
            for index in sorted(changed):
                if not _to_row(cursor, index):
                    raise CorruptState(f"{self._path}: entry {index} is missing. {REMEDY}")
                before = self._entries(*cursor.item())
                cursor.delete()
                for key, value in rows_of([changed.get(each[1], each) for each in before]):
                    txn.put(key, value, db=self._log_db)
            txn.put(STATE_KEY, _encode_state(state), db=self._meta_db)

    def discard_trimmed(self, count_max: int) -> bool:
        """Delete a slice of what lies at or below the first index, in a transaction of its own."""
        first = self._saved_first  # the one in memory may be ahead of the disk
        with self._env.begin(write=True) as txn, txn.cursor(db=self._log_db) as cursor:
            found = cursor.first()
            left = count_max
            while found and left > 0 and (last := last_of(*cursor.item())) <= first:
                left -= last + 1 - KEY.unpack(cursor.key())[0]
                found = cursor.delete() and bool(cursor.key())
            more = found and last_of(*cursor.item()) <= first
        self._take_measure()
        return more

    def _cut(self, txn: Any, index: int) -> None:
        with txn.cursor(db=self._log_db) as cursor:
            found = _to_row(cursor, index)
            kept = [e for e in self._entries(*cursor.item()) if e[1] < index] if found else []
            while found:
                found = cursor.delete()
        for key, value in rows_of(kept):
            txn.put(key, value, db=self._log_db)

    # -- the loop's thread

    def stored(self, first: int, last: int, *, bytes_max: int | None = None) -> list[Entry]:
        """Re-read entries that have left memory."""
        found: list[Entry] = []
        size = 0
        with self._env.begin() as txn, txn.cursor(db=self._log_db) as cursor:
            for entry in self._from(cursor, first):
                if entry[1] != first + len(found):
                    break
                size += len(entry[0])
                if entry[1] > last or (bytes_max is not None and found and size > bytes_max):
                    break
                found.append(entry)
        if not found:
            raise CorruptState(f"{self._path}: entry {first} is missing. {REMEDY}")
        return found

    @property
    def _expected_bytes(self) -> float:
        """What is used at most, with what was written since it was measured."""
        return self._used_bytes + WRITE_SHARE * self._unmeasured_bytes

    @property
    def full(self) -> bool:
        """Has the map no room for more payload (with what is on its way already)?"""
        unsaved = WRITE_SHARE * self.unsaved_bytes  # asked with every proposal: no further calls
        written = self._used_bytes + WRITE_SHARE * self._unmeasured_bytes
        return (
            self._refused
            or self._free_bytes - unsaved < self._reserve_bytes
            or written + unsaved > FULL_SHARE * self._map_bytes
        )

    @property
    def pressed(self) -> bool:
        """Is the map filled so far that a snapshot and trimming are due?"""
        return self._expected_bytes > PRESSED_SHARE * self._map_bytes or self.full

    @property
    def used_bytes(self) -> int:
        """Bytes of the map in use."""
        return self._used_bytes

    def close(self) -> None:
        """Release the environment. Nothing may be on its way to the disk."""
        self._env.close()


def _to_row(cursor: Any, index: int) -> bool:
    """Go to the row that holds an index, or would hold it; False if the table is empty."""
    key = KEY.pack(index)
    if not cursor.set_range(key):
        return bool(cursor.last())
    return cursor.key() == key or cursor.prev() or bool(cursor.first())


def _encode_state(state: HardState) -> bytes:
    pointer = state.snapshot
    body: bytes = msgpack.packb(
        [
            FORMAT,
            state.term,
            state.vote,
            state.commit,
            state.config,
            state.config_prev,
            state.first_index,
            state.first_term,
            state.owner,
            None
            if pointer is None
            else [pointer.name, pointer.index, pointer.term, pointer.size, pointer.sha256],
            [state.disk.id, state.disk.founding],
        ]
    )
    return zlib.crc32(body).to_bytes(4, "big") + body


def _decode_state(fields: list[Any]) -> HardState:
    term, vote, commit, config, config_prev, first_index, first_term, owner, *later = fields
    pointer = None
    if later and later[0] is not None:
        name, index, snapshot_term, size, sha256 = later[0]
        pointer = SnapshotPointer(
            name=name, index=index, term=snapshot_term, size=size, sha256=sha256
        )
    return HardState(
        term=term,
        vote=vote,
        commit=commit,
        config=None if config is None else (config[0], config[1]),
        config_prev=None if config_prev is None else (config_prev[0], config_prev[1]),
        first_index=first_index,
        first_term=first_term,
        owner=owner,
        disk=Disk(*later[1]) if len(later) > 1 else UNTOLD_DISK,
        snapshot=pointer,
    )
