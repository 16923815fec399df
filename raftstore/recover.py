"""Reads what survivors of a lost quorum have on disk, and rewrites it for the cluster that goes on.

Everything here is for a server that does not run: the caller holds the data directory's lock. What
to do is decided in recovery.py. A rewriting replaces every configuration record of the log, and the
one in the snapshot, by the new one, so that a server which joins later learns of no other; indexes,
terms and the state's own entries stay as they are. The directory is copied beside itself first.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from raftstore import wire
from raftstore.errors import CorruptState, DecodeError, JournalFull
from raftstore.raft.journal import LmdbJournal
from raftstore.raft.log import CONFIG, PAYLOAD, PAYLOAD_HEAD, Entry, HardState, SnapshotPointer
from raftstore.raft.members import Config, decode_config
from raftstore.raft.snapshot import TEMP_SUFFIX, SnapshotFiles, SnapshotReader, SnapshotWriter
from raftstore.recovery import (
    PEERS_BYTES_MAX,
    SHOWN_MAX,
    Loss,
    RecoveryRefused,
    Survivor,
    parse_peers,
    peers_config,
)

SNAPSHOTS = "snapshots"
PEERS_FILE = "peers.json"
USED_SUFFIX = ".used"
_SLICE = 4096


@contextlib.contextmanager
def _opened(data_dir: str) -> Iterator[LmdbJournal]:
    raft = Path(data_dir) / "raft"
    if not (raft / "data.mdb").is_file():
        raise RecoveryRefused(f"{data_dir}: there is no Raft data in it")
    try:
        journal = LmdbJournal(raft)
    except (CorruptState, JournalFull) as error:
        raise RecoveryRefused(str(error)) from None
    try:
        yield journal
    finally:
        journal.close()


def _entries(journal: LmdbJournal, first: int, last: int) -> Iterator[Entry]:
    while first <= last:
        found = journal.entries(first, min(last, first + _SLICE - 1))
        yield from found
        first = found[-1][1] + 1


def read_survivor(data_dir: str) -> Survivor:
    """What this server holds. Raises RecoveryRefused if it holds nothing, or nothing sound."""
    with _opened(data_dir) as journal:
        if journal.config is None:
            raise RecoveryRefused(f"{data_dir}: this server never belonged to a cluster")
        first_term = journal.term_at(journal.first_index) or 0
        runs = [(journal.first_index, first_term)]
        for _, index, term in _entries(journal, journal.first_index + 1, journal.last_index):
            if term != runs[-1][1]:
                runs.append((index, term))
        pointer = journal.snapshot
        return Survivor(
            path=data_dir,
            node_id=journal.owner,
            term=journal.term,
            vote=journal.vote,
            first_index=journal.first_index,
            last_index=journal.last_index,
            last_term=journal.last_term,
            commit_index=max(journal.commit_hint, journal.first_index),
            config_index=journal.config[0],
            config=decode_config(journal.config[1]),
            snapshot=None if pointer is None else (pointer.index, pointer.term),
            runs=tuple(runs),
        )


def describe(loss: Loss, data_dir: str) -> Loss:
    """The same loss with its first entries in words."""
    shown = []
    with _opened(data_dir) as journal:
        last = min(journal.last_index, loss.first + min(loss.count, SHOWN_MAX) - 1)
        for command, index, term in _entries(journal, loss.first, last):
            shown.append(f"index {index} term {term}: {_words(command)}")
    return replace(loss, shown=tuple(shown))


def _words(command: bytes) -> str:
    if command[0] == CONFIG:
        return "configuration of the servers"
    if command[0] != PAYLOAD:
        return "start of a leader's term"
    try:
        found, *_ = wire.decode_command(command[PAYLOAD_HEAD.size :])
    except DecodeError:
        return "a command that this version does not know"
    key = getattr(found, "key", None)
    return type(found).__name__ + ("" if key is None else f" {key!r}")


def back_up(data_dir: str) -> Path:
    """Copy the Raft data beside itself; gives the copy's place."""
    raft = Path(data_dir) / "raft"
    copy = _free_name(raft)
    shutil.copytree(raft, copy)
    return copy


def set_aside(data_dir: str) -> Path:
    """Move the Raft data away, so that this server starts as a new one; gives its new place."""
    raft = Path(data_dir) / "raft"
    moved = _free_name(raft)
    raft.rename(moved)
    return moved


def _free_name(raft: Path) -> Path:
    for number in range(1, 1000):
        name = raft.with_name(f"raft.before-recovery-{number}")
        if not name.exists():
            return name
    raise RecoveryRefused(f"{raft.parent}: too many copies of former recoveries")


def rewrite(data_dir: str, config: Config) -> None:
    """Put a configuration in the place of all others. Raises RecoveryRefused."""
    encoded = config.encode()
    with _opened(data_dir) as journal:
        if journal.config is None:
            raise RecoveryRefused(f"{data_dir}: this server never belonged to a cluster")
        log = _entries(journal, journal.first_index + 1, journal.last_index)
        changed = tuple(
            (bytes((CONFIG,)) + encoded, index, term)
            for command, index, term in log
            if command[0] == CONFIG
        )
        pointer = journal.snapshot
        if pointer is not None:
            pointer = _rewrite_snapshot(Path(data_dir) / "raft" / SNAPSHOTS, pointer, config)
        before = journal.config_prev
        journal.rewrite(
            changed,
            HardState(
                term=journal.term,
                vote=journal.vote,
                commit=journal.commit_hint,
                config=(journal.config[0], encoded),
                config_prev=None if before is None else (before[0], encoded),
                first_index=journal.first_index,
                first_term=journal.term_at(journal.first_index) or 0,
                owner=journal.owner,
                disk=replace(journal.disk, founding=True),
                snapshot=pointer,
            ),
        )


def _rewrite_snapshot(folder: Path, pointer: SnapshotPointer, config: Config) -> SnapshotPointer:
    files = SnapshotFiles(folder)
    temporary = pointer.name + TEMP_SUFFIX
    try:
        with files.path(pointer.name).open("rb") as source:
            reader = SnapshotReader(source)
            index = reader.header.config[0]
            header = replace(
                reader.header, cluster_id=config.cluster_id, config=(index, config.encode())
            )
            target = files.create(temporary)
            writer = SnapshotWriter(target, header)
            for chunk in reader.chunks():
                writer.add(chunk)
            writer.finish()
            files.seal(target)
    except (DecodeError, JournalFull, OSError) as error:
        files.discard(temporary)
        raise RecoveryRefused(f"{files.path(pointer.name)}: {error}") from None
    files.publish(temporary, pointer.name)
    files.discard(*(name for name in files.names() if name != pointer.name))
    files.sync()
    return files.verify(pointer.name)[1]


def take_peers_file(data_dir: str, *, own_id: str, own_address: str) -> Config | None:
    """Do what DATA/raft/peers.json says, if there is one, and rename it: it counts once.

    Raises RecoveryRefused, and leaves everything as it was, when it cannot be used.
    """
    path = Path(data_dir) / "raft" / PEERS_FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            raw = file.read(PEERS_BYTES_MAX + 1)
        text = raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise RecoveryRefused(f"{path}: {error}") from None
    if len(raw) > PEERS_BYTES_MAX:
        raise RecoveryRefused(f"{path} is larger than {PEERS_BYTES_MAX} bytes")
    entries = parse_peers(text)
    survivor = read_survivor(data_dir)
    if survivor.node_id != own_id:
        raise RecoveryRefused(f"{data_dir} belongs to node {survivor.node_id}, this is {own_id}")
    config = peers_config(entries, survivor.config, own_id=own_id, own_address=own_address)
    back_up(data_dir)
    rewrite(data_dir, config)
    path.rename(path.with_name(PEERS_FILE + USED_SUFFIX))
    return config
