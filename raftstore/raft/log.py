"""The Raft log as the engine sees it: entries in memory, and the batch that waits for the disk.

Decides what is unsaved; leaves writing and re-reading to the two implementations (``MemJournal``
here, ``LmdbJournal`` in ``journal``). Index ``first_index`` is a sentinel that stands for all that
came before the log; it is never replicated, and thanks to it the log is never empty. A snapshot
stands in for the log up to its index, so ``first_index`` may move up to there: entries below it
are out of the log at once and leave the disk later, in slices.

A batch is everything one step changed: cut, entries, term, vote, configuration, snapshot. It is
saved as one transaction or not at all. The commit index rides along as a hint and never causes a
write.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raftstore.errors import CorruptState
from raftstore.raft.members import UNTOLD_DISK, Disk

PAYLOAD = 0
NOOP = 1
CONFIG = 4
"""Kinds of commands: their first byte. 2 and 3 mean foreign things to PySyncObj: never use them."""

NOOP_COMMAND = bytes((NOOP,))
STAMP = struct.Struct(">d")
PAYLOAD_HEAD = struct.Struct(">Bd")
ENTRY_OVERHEAD_BYTES = 64
#: Entries that leave memory in one step: about a millisecond.
TRIMMED_AT_ONCE = 2048

Entry = tuple[bytes, int, int]
"""(command, index, term): the order PySyncObj expects."""


def payload_command(stamp: float, payload: bytes) -> bytes:
    """A command that carries the caller's bytes and the leader's wall clock in seconds."""
    return PAYLOAD_HEAD.pack(PAYLOAD, stamp) + payload


def command_is_valid(command: bytes) -> bool:
    """Does a command from a peer have one of the known shapes?"""
    if not command:
        return False
    kind = command[0]
    if kind == PAYLOAD:
        return len(command) >= PAYLOAD_HEAD.size
    if kind == NOOP:
        return len(command) == 1
    return kind == CONFIG and len(command) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPointer:
    """The snapshot that stands in for the log up to ``index``: which file, and its checksum."""

    name: str
    index: int
    term: int
    size: int
    """Bytes of the file."""
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HardState:
    """What must survive beside the entries. ``commit`` is a hint: never above the last index."""

    term: int = 0
    vote: str | None = None
    commit: int = 0
    config: tuple[int, bytes] | None = None
    """(index, encoded configuration) in force: the newest one in the log, committed or not."""
    config_prev: tuple[int, bytes] | None = None
    """The one before it, in force again if the newest is cut off."""
    first_index: int = 0
    first_term: int = 0
    owner: str = ""
    """The node id this journal belongs to; a journal under another id could vote twice."""
    disk: Disk = UNTOLD_DISK
    """Which disk this is: an id made together with the journal."""
    snapshot: SnapshotPointer | None = None
    """Never below ``first_index``: pointer and log always meet."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One atomic change of what is stored: cut at ``cut_from``, then add, then set the state."""

    cut_from: int | None
    entries: tuple[Entry, ...]
    state: HardState
    state_changed: bool
    """Term, vote, configuration or snapshot differ from what is stored."""
    clear: bool = False
    """Before all else, drop every stored entry: an installed snapshot has replaced them."""


class Journal(ABC):
    """Log and hard state. All methods but ``persist`` belong to the loop's thread."""

    def __init__(
        self,
        state: HardState,
        tail: list[Entry],
        *,
        tail_entries_max: int = 50_000,
        tail_bytes_max: int = 64 * 1024 * 1024,
        bytes_since_snapshot: int = 0,
    ) -> None:
        """``tail``: the newest entries, or none; older ones can be read by ``stored``."""
        self._sentinel: Entry = (NOOP_COMMAND, state.first_index, state.first_term)
        self._tail = tail or [self._sentinel]
        self._tail_first = self._tail[0][1]
        self._tail_bytes = sum(len(entry[0]) + ENTRY_OVERHEAD_BYTES for entry in self._tail)
        self._tail_entries_max = tail_entries_max
        self._tail_bytes_max = tail_bytes_max
        self.first_index = state.first_index
        self.last_index = self._tail[-1][1]
        self.term = state.term
        self.vote = state.vote
        self.commit_hint = min(state.commit, self.last_index)
        self.config = state.config
        self.config_prev = state.config_prev
        self.owner = state.owner
        self.disk = state.disk
        self.snapshot = state.snapshot
        self.bytes_since_snapshot = bytes_since_snapshot
        """Bytes of entries that no snapshot stands in for, or had when the last one was begun."""
        self._cut_from: int | None = None
        self._clear = False
        self.saved_index = self.last_index
        """Entries up to here are on disk."""
        self._state_dirty = False
        self.unsaved_bytes = 0
        self.on_sync: Callable[[], None] = lambda: None
        """Called on the disk thread when all that is left of a write is to sync it."""

    # -- reading

    @property
    def last_term(self) -> int:
        """Term of the last entry."""
        return self._tail[-1][2]

    def entry(self, index: int) -> Entry:
        """The entry at ``index`` (first_index .. last_index); IndexError outside."""
        position = index - self._tail_first
        if position >= 0:
            return self._tail[position]
        if index == self.first_index:
            return self._sentinel
        if index < self.first_index:
            raise IndexError(index)
        return self.stored(index, index)[0]

    def term_at(self, index: int) -> int | None:
        """Term of the entry at ``index``, or None when the log does not reach there."""
        if index > self.last_index or index < self.first_index:
            return None
        return self.entry(index)[2]

    def entries(self, first: int, last: int, *, bytes_max: int | None = None) -> list[Entry]:
        """Entries first..last, cut to ``bytes_max`` (but at least one); may be fewer at a seam."""
        last = min(last, self.last_index)
        if first < self._tail_first:
            last = min(last, self._tail_first - 1)
            if first == self.first_index:
                found = [self._sentinel]
            else:
                found = self.stored(first, last, bytes_max=bytes_max)
        else:
            found = self._tail[first - self._tail_first : last + 1 - self._tail_first]
        if bytes_max is None or sum([len(entry[0]) for entry in found]) <= bytes_max:
            return found
        total = 0
        for count, entry in enumerate(found):
            total += len(entry[0])
            if total > bytes_max and count:
                return found[:count]
        return found

    # -- changing (in memory; ``take`` hands the change to the disk)

    def append(self, entry: Entry) -> None:
        """Add the next entry. A configuration is in force from here on."""
        command, index, _ = entry
        assert index == self.last_index + 1, f"append of {index} after {self.last_index}"
        self._tail.append(entry)
        self.last_index = index
        self._tail_bytes += len(command) + ENTRY_OVERHEAD_BYTES
        self.unsaved_bytes += len(command) + ENTRY_OVERHEAD_BYTES
        self.bytes_since_snapshot += len(command) + ENTRY_OVERHEAD_BYTES
        if command[0] == CONFIG:
            self.config, self.config_prev = (index, command[1:]), self.config
            self._state_dirty = True

    def extend(self, entries: Sequence[Entry]) -> None:
        """Add the next entries, at least one, as so many ``append`` would."""
        assert entries[0][1] == self.last_index + 1, f"append of {entries[0][1]}"
        assert entries[-1][1] == self.last_index + len(entries), "a hole between entries"
        self._tail.extend(entries)
        self.last_index += len(entries)
        size = ENTRY_OVERHEAD_BYTES * len(entries)
        for command, index, _ in entries:
            size += len(command)
            if command[0] == CONFIG:
                self.config, self.config_prev = (index, command[1:]), self.config
                self._state_dirty = True
        self._tail_bytes += size
        self.unsaved_bytes += size
        self.bytes_since_snapshot += size

    def cut_from(self, index: int) -> None:
        """Remove the entry at ``index`` and all after it."""
        assert index > self.first_index
        if index > self.last_index:
            return
        if index <= self._tail_first:
            self._tail = [self.entry(index - 1)]
            self._tail_first = index - 1
        else:
            del self._tail[index - self._tail_first :]
        self._tail_bytes = sum(len(entry[0]) + ENTRY_OVERHEAD_BYTES for entry in self._tail)
        self.last_index = index - 1
        if index <= self.saved_index:
            self._cut_from = index if self._cut_from is None else min(self._cut_from, index)
            self.saved_index = index - 1
        if self.config is not None and self.config[0] >= index:
            self.config, self.config_prev = self.config_prev, None
            self._state_dirty = True
        self.commit_hint = min(self.commit_hint, self.last_index)

    def set_term(self, term: int, vote: str | None) -> None:
        """Remember term and vote; both go to disk before anything that rests on them leaves."""
        if (term, vote) != (self.term, self.vote):
            self.term, self.vote = term, vote
            self._state_dirty = True

    def claim(self, node_id: str, disk_id: str = "") -> None:
        """Make sure that the journal is this node's. Raises CorruptState if it is another's.

        One that has no disk id yet gets this one, which nobody may ever have had.
        """
        if self.owner not in ("", node_id):
            raise CorruptState(
                f"the journal belongs to node {self.owner}, this is {node_id}: the data"
                " directory was copied, or its node-id file was lost. Restore the node-id file, or"
                " start with an empty data directory."
            )
        if not self.owner:
            self.set_owner(node_id)
        if disk_id and not self.disk.id:
            self.set_disk(Disk(disk_id, founding=self.last_index > 0 or self.term > 0))

    def set_disk(self, disk: Disk) -> None:
        """Write which disk this is."""
        self.disk = disk
        self._state_dirty = True

    def set_owner(self, node_id: str) -> None:
        """Write whose journal this is."""
        self.owner = node_id
        self._state_dirty = True

    def set_snapshot(self, pointer: SnapshotPointer) -> None:
        """A snapshot of our own is on disk, verified. The caller has seen that it is the newest."""
        assert self.first_index <= pointer.index <= self.saved_index
        self.snapshot = pointer
        self._state_dirty = True

    def trim_to(self, index: int) -> None:
        """Take all up to ``index`` out of the log; that entry becomes the sentinel."""
        assert self.snapshot is not None
        assert index <= min(self.snapshot.index, self.saved_index), "the log must meet the snapshot"
        term = self.term_at(index)
        if index <= self.first_index or term is None:
            return
        self.first_index = index
        self._sentinel = (NOOP_COMMAND, index, term)
        if index > self._tail_first:
            gone = self._tail[: index - self._tail_first]
            self._tail_bytes -= sum(len(entry[0]) + ENTRY_OVERHEAD_BYTES for entry in gone)
            del self._tail[: len(gone)]
            self._tail_first = index
        self._state_dirty = True

    def install(self, pointer: SnapshotPointer, config: tuple[int, bytes]) -> None:
        """A leader's snapshot, on disk and verified, stands in for the log up to its index.

        What follows in the log is kept if the entry at that index is the snapshot's; otherwise the
        log may be another leader's, and all of it goes. ``config`` is the one at the index.
        """
        assert self.snapshot is None or self.snapshot.index < pointer.index
        keeps = self.term_at(pointer.index) == pointer.term and self.saved_index >= pointer.index
        self.snapshot = pointer
        if keeps:
            self.trim_to(pointer.index)
            if self.config is None or self.config[0] <= pointer.index:
                self.config, self.config_prev = config, None
        else:
            self._sentinel = (NOOP_COMMAND, pointer.index, pointer.term)
            self._tail = [self._sentinel]
            self._tail_first = self.first_index = pointer.index
            self._tail_bytes = ENTRY_OVERHEAD_BYTES
            self.last_index = self.saved_index = pointer.index
            self._cut_from, self._clear = None, True
            self.unsaved_bytes = self.bytes_since_snapshot = 0
            self.config, self.config_prev = config, None
        self.commit_hint = max(self.commit_hint, pointer.index)
        self._state_dirty = True

    def config_at(self, index: int) -> tuple[int, bytes] | None:
        """The configuration in force at ``index``, None if it is no longer (or not) known."""
        for config in (self.config, self.config_prev):
            if config is not None and config[0] <= index:
                return config
        return None

    @property
    def state_dirty(self) -> bool:
        """Have term, vote, configuration or snapshot changed since the last batch?"""
        return self._state_dirty

    def take(self) -> Batch | None:
        """Everything unsaved as one batch, or None. The caller persists it before the next step."""
        if not self._state_dirty and self._cut_from is None and self.saved_index == self.last_index:
            return None
        first = self.saved_index + 1 - self._tail_first
        state = HardState(
            term=self.term,
            vote=self.vote,
            commit=self.commit_hint,
            config=self.config,
            config_prev=self.config_prev,
            first_index=self.first_index,
            first_term=self._sentinel[2],
            owner=self.owner,
            disk=self.disk,
            snapshot=self.snapshot,
        )
        entries = tuple(self._tail[first:])
        return Batch(self._cut_from, entries, state, self._state_dirty, self._clear)

    def persisted(self, batch: Batch) -> None:
        """The batch is on disk. Nothing was changed meanwhile: no step runs during a write."""
        self._cut_from = None
        self._clear = False
        self._state_dirty = False
        self.saved_index = self.last_index
        self.unsaved_bytes = 0
        assert not batch.entries or batch.entries[-1][1] == self.last_index

    def trim_memory(self, applied: int) -> None:
        """Forget applied entries that are on disk once the tail has grown past its limits.

        A step at a time: tens of thousands at once hold the loop for 25 ms.
        """
        entries_max, bytes_max = self._tail_entries_max, self._tail_bytes_max
        if (
            len(self._tail) <= entries_max + min(entries_max, TRIMMED_AT_ONCE)
            and self._tail_bytes <= bytes_max + bytes_max // 16
        ):
            return
        keep_from = min(applied, self.saved_index)
        count = 0
        bytes_left = self._tail_bytes
        while (
            count < TRIMMED_AT_ONCE
            and self._tail_first + count < keep_from
            and (len(self._tail) - count > entries_max or bytes_left > bytes_max)
        ):
            bytes_left -= len(self._tail[count][0]) + ENTRY_OVERHEAD_BYTES
            count += 1
        del self._tail[:count]
        self._tail_first += count
        self._tail_bytes = bytes_left

    # -- the disk

    @abstractmethod
    def persist(self, batch: Batch) -> None:
        """Save a batch as one durable transaction. Runs on the disk thread."""

    @abstractmethod
    def stored(self, first: int, last: int, *, bytes_max: int | None = None) -> list[Entry]:
        """Read saved entries back; at least one when ``first`` is saved."""

    def preallocate(self) -> None:  # noqa: B027  (most have no file)
        """Make room ahead for the next batches. Runs on the disk thread, between two of them."""

    def discard_trimmed(self, count_max: int) -> bool:
        """Delete up to so many trimmed entries from the disk, durably; True if more are left.

        Runs on the disk thread, never beside ``persist``.
        """
        return False

    @property
    def full(self) -> bool:
        """Is there no room for more payload? Terms and votes still fit."""
        return False

    @property
    def pressed(self) -> bool:
        """Is room so short that a snapshot should be taken and the log trimmed?"""
        return False

    @property
    def used_bytes(self) -> int:
        """Bytes in use on disk."""
        return 0

    def close(self) -> None:  # noqa: B027 (most have nothing to release)
        """Release the files."""


class MemJournal(Journal):
    """A journal that dies with the process: for -dev servers and tests. Keeps the whole log."""

    def __init__(self) -> None:
        super().__init__(HardState(), [], tail_entries_max=2**62, tail_bytes_max=2**62)

    def persist(self, batch: Batch) -> None:
        """Nothing to save."""

    def stored(self, first: int, last: int, *, bytes_max: int | None = None) -> list[Entry]:
        """Never needed: the tail holds everything."""
        raise IndexError(first)
