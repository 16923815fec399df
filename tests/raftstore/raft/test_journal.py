"""The journal keeps what it was given, or says that it did not."""

import itertools
import zlib

import lmdb
import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore.errors import CorruptState, JournalFull
from raftstore.raft import log
from raftstore.raft.journal import FORMAT, KEY, STATE_KEY, LmdbJournal
from raftstore.raft.log import CONFIG, MemJournal, SnapshotPointer, payload_command
from raftstore.raft.log_rows import entries_of

MAP_BYTES = 2**24


def open_journal(path, **settings):
    return LmdbJournal(path, **{"map_bytes": MAP_BYTES, **settings})


def save(journal):
    batch = journal.take()
    if batch is not None:
        journal.persist(batch)
        journal.persisted(batch)


def fill(journal, count, term=1, row=None):
    """Append entries; ``row`` saves them, so many in a row of the table."""
    for number in range(1, count + 1):
        index = journal.last_index + 1
        journal.append((payload_command(1.0, b"%d" % index), index, term))
        if row and (number % row == 0 or number == count):
            save(journal)


def contents(journal):
    return journal.entries(journal.first_index, journal.last_index) if journal.last_index else []


def reopened(path):
    journal = open_journal(path)
    found = [journal.entry(index) for index in range(1, journal.last_index + 1)]
    journal.close()
    return journal, found


def test_what_was_saved_is_there_after_a_restart(tmp_path):
    journal = open_journal(tmp_path)
    fill(journal, 10)
    journal.set_term(3, "n1")
    journal.set_owner("me")
    journal.commit_hint = 7
    expected = [journal.entry(index) for index in range(1, 11)]
    save(journal)
    fill(journal, 5)  # never saved
    journal.close()
    again, found = reopened(tmp_path)
    assert found == expected
    assert (again.term, again.vote, again.owner, again.commit_hint) == (3, "n1", "me", 7)


def test_a_batch_that_was_not_persisted_left_nothing(tmp_path):
    journal = open_journal(tmp_path)
    fill(journal, 3)
    journal.set_term(2, "x")
    assert journal.take() is not None
    journal.close()
    again, found = reopened(tmp_path)
    assert (found, again.term, again.vote) == ([], 0, None)


def test_the_commit_index_alone_causes_no_write(tmp_path):
    journal = open_journal(tmp_path)
    fill(journal, 3)
    save(journal)
    journal.commit_hint = 3
    assert journal.take() is None
    journal.close()


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(1, 5)),
            st.tuples(st.just("cut"), st.integers(1, 30)),
            st.tuples(st.just("save"), st.just(0)),
            st.tuples(st.just("trim"), st.just(0)),
        ),
        max_size=25,
    ),
    number=st.integers(0, 10**9),
)
def test_any_order_of_adds_cuts_and_saves_is_kept(tmp_path_factory, steps, number):
    path = tmp_path_factory.mktemp("journal")
    journal = open_journal(path, tail_entries_max=3)
    model, serial = [], 0
    for action, value in steps:
        if action == "add":
            for _ in range(value):
                serial += 1
                entry = (payload_command(0.0, b"%d" % serial), len(model) + 1, serial)
                journal.append(entry)
                model.append(entry)
        elif action == "cut":
            journal.cut_from(value)
            del model[value - 1 :]
        elif action == "save":
            save(journal)
        else:
            journal.trim_memory(journal.saved_index)
        assert journal.last_index == len(model)
        assert [journal.entry(i + 1) for i in range(len(model))] == model
        assert list(walk(journal)) == model
    save(journal)
    journal.close()
    assert reopened(path)[1] == model


def walk(journal):
    index = 1
    while index <= journal.last_index:
        found = journal.entries(index, journal.last_index, bytes_max=30)
        assert found
        yield from found
        index += len(found)


def test_a_configuration_is_in_force_when_appended_and_out_when_cut(tmp_path):
    journal = open_journal(tmp_path)
    journal.append((bytes((CONFIG,)) + b"one", 1, 0))
    fill(journal, 2)
    journal.append((bytes((CONFIG,)) + b"two", 4, 1))
    assert journal.config == (4, b"two")
    save(journal)
    journal.close()
    journal = open_journal(tmp_path)
    assert (journal.config, journal.config_prev) == ((4, b"two"), (1, b"one"))
    journal.cut_from(3)
    assert journal.config == (1, b"one")
    save(journal)
    journal.close()
    assert reopened(tmp_path)[0].config == (1, b"one")


def damage(path, db_name, change):
    with lmdb.open(str(path), max_dbs=2, map_size=MAP_BYTES) as env:
        db = env.open_db(db_name)
        with env.begin(write=True) as txn:
            change(txn, db)


def flip(key, position):
    def change(txn, db):
        value = bytearray(txn.get(key, db=db))
        value[position] ^= 1
        txn.put(key, bytes(value), db=db)

    return change


@pytest.mark.parametrize("row", [1, 2])
@pytest.mark.parametrize("position", [0, 4, 5, 8, 9, 11, 12, -1])
def test_a_flipped_bit_in_an_entry_is_found_at_start(tmp_path, position, row):
    journal = open_journal(tmp_path)
    fill(journal, 5, row=row)
    journal.close()
    damage(tmp_path, b"log", flip(KEY.pack(3), position))
    with pytest.raises(CorruptState, match=r"entry 3.*Remove this server"):
        open_journal(tmp_path)


def test_a_flipped_bit_in_term_or_vote_is_found_at_start(tmp_path):
    journal = open_journal(tmp_path)
    journal.set_term(5, "me")
    save(journal)
    journal.close()
    damage(tmp_path, b"meta", flip(STATE_KEY, 6))
    with pytest.raises(CorruptState, match="hard state"):
        open_journal(tmp_path)


def test_a_missing_entry_and_a_lost_tail_are_found_at_start(tmp_path):
    for number, lost in enumerate((3, 5)):
        path = tmp_path / str(number)
        journal = open_journal(path)
        journal.commit_hint = 5
        fill(journal, 5, row=1 if lost == 5 else 2)
        journal.close()
        damage(path, b"log", lambda txn, db, lost=lost: txn.delete(KEY.pack(lost), db=db))
        with pytest.raises(CorruptState):
            open_journal(path)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_shortened_file_is_refused_and_does_not_kill_the_process(tmp_path, keep):
    journal = open_journal(tmp_path)
    fill(journal, 3000)
    save(journal)
    journal.close()
    file = tmp_path / "data.mdb"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)] or b"x" * 100)
    with pytest.raises(CorruptState):
        open_journal(tmp_path)


def test_a_full_map_refuses_payload_before_it_fails_a_write(tmp_path):
    journal = open_journal(tmp_path, map_bytes=2**20)
    for index in itertools.count(1):
        if journal.full:
            break
        journal.append((payload_command(0.0, b"x" * 5000), index, 1))
        save(journal)
    journal.set_term(9, "still fits")
    save(journal)
    journal.append((b"\x01", journal.last_index + 1, 9))
    save(journal)
    assert 0.5 * 2**20 < journal.used_bytes <= 2**20
    journal.append((payload_command(0.0, b"x" * 2**20), journal.last_index + 1, 9))
    with pytest.raises(JournalFull, match="larger"):
        journal.persist(journal.take())
    journal.close()


def test_memory_is_given_back_a_step_at_a_time_down_to_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "TRIMMED_AT_ONCE", 2)
    journal = open_journal(tmp_path, tail_entries_max=3)
    fill(journal, 10)
    save(journal)
    held = []
    for _ in range(6):
        journal.trim_memory(9)
        held.append(len(journal._tail))
    assert held == [9, 7, 5, 5, 5, 5], "a step more than the limit is left alone"
    assert len(list(walk(journal))) == 10
    journal.close()


def test_the_memory_journal_keeps_everything():
    journal = MemJournal()
    fill(journal, 100)
    save(journal)
    journal.trim_memory(100)
    assert len(journal.entries(1, 100)) == 100


# -- snapshots and trimming

POINTER = SnapshotPointer(name="snap-1-20", index=20, term=1, size=7, sha256=b"h" * 32)
CONFIGURED = (1, b"members")


def stored_indexes(journal):
    with journal._env.begin() as txn:
        rows = list(txn.cursor(db=journal._log_db))
    return [entry[1] for key, value in rows for entry in entries_of(key, value)]


def test_a_trimmed_log_begins_at_its_sentinel_and_loses_the_rest_later_in_slices(tmp_path):
    journal = open_journal(tmp_path)
    fill(journal, 30, row=5)
    journal.set_snapshot(POINTER)
    journal.trim_to(15)
    assert journal.term_at(15) == 1
    assert journal.term_at(14) is None
    assert not journal.discard_trimmed(100)  # what is not saved is not acted upon
    assert len(stored_indexes(journal)) == 30
    save(journal)
    journal.close()
    journal = open_journal(tmp_path)  # died before the first slice
    assert (journal.first_index, journal.last_index) == (15, 30)
    assert journal.snapshot == POINTER
    assert [entry[1] for entry in walk_from(journal, 16)] == list(range(16, 31))
    assert journal.discard_trimmed(10)
    journal.close()
    journal = open_journal(tmp_path)  # died between two
    assert not journal.discard_trimmed(10)
    assert stored_indexes(journal) == list(range(16, 31))
    assert journal.bytes_since_snapshot == sum(
        len(entry[0]) + 64 for entry in walk_from(journal, 21)
    )
    journal.close()


def walk_from(journal, index):
    while index <= journal.last_index:
        found = journal.entries(index, journal.last_index, bytes_max=30)
        yield from found
        index += len(found)


@pytest.mark.parametrize("last", [10, 19])
def test_an_installed_snapshot_beyond_the_log_replaces_all_of_it(tmp_path, last):
    journal = open_journal(tmp_path)
    fill(journal, last, row=3)
    journal.install(POINTER, CONFIGURED)
    assert (journal.first_index, journal.last_index, journal.commit_hint) == (20, 20, 20)
    save(journal)
    fill(journal, 3)
    save(journal)
    journal.close()
    journal = open_journal(tmp_path)
    assert (journal.first_index, journal.last_index, journal.config) == (20, 23, CONFIGURED)
    assert stored_indexes(journal) == [21, 22, 23]
    journal.close()


@pytest.mark.parametrize(("term", "kept"), [(1, [21, 22, 23, 24, 25]), (2, [])])
def test_the_log_behind_an_installed_snapshot_is_kept_only_if_it_continues_it(tmp_path, term, kept):
    journal = open_journal(tmp_path)
    fill(journal, 25, term=term, row=5)
    journal.install(POINTER, CONFIGURED)
    save(journal)
    while journal.discard_trimmed(7):
        pass
    assert stored_indexes(journal) == kept
    journal.close()
    journal = open_journal(tmp_path)
    assert (journal.first_index, journal.last_index) == (20, kept[-1] if kept else 20)
    assert journal.term_at(20) == 1
    journal.close()


def test_a_row_that_is_trimmed_in_part_stays_until_all_of_it_is(tmp_path):
    journal = open_journal(tmp_path)
    fill(journal, 30, row=8)
    journal.set_snapshot(POINTER)
    journal.trim_to(15)
    save(journal)
    assert not journal.discard_trimmed(100)
    assert stored_indexes(journal) == list(range(9, 31))
    journal.close()
    journal = open_journal(tmp_path)
    assert (journal.first_index, journal.last_index) == (15, 30)
    assert [entry[1] for entry in walk_from(journal, 16)] == list(range(16, 31))
    journal.trim_to(20)
    journal.cut_from(22)  # in the same row as the sentinel
    fill(journal, 1, term=2, row=1)
    assert not journal.discard_trimmed(100)
    assert stored_indexes(journal) == list(range(17, 23))
    journal.close()
    journal = open_journal(tmp_path)
    assert [entry[1:] for entry in walk_from(journal, 21)] == [(21, 1), (22, 2)]
    journal.close()


def test_a_journal_of_rows_with_one_entry_each_is_read_and_continued(tmp_path):
    journal = open_journal(tmp_path)
    fill(journal, 3, row=1)
    state = msgpack.packb([3, 1, None, 2, None, None, 0, 0, "me", None, ["d", False]])
    journal.close()

    def as_written_then(txn, db):
        txn.put(STATE_KEY, zlib.crc32(state).to_bytes(4, "big") + state, db=db)

    damage(tmp_path, b"meta", as_written_then)
    journal = open_journal(tmp_path)
    fill(journal, 4, term=2, row=4)
    journal.close()
    again, found = reopened(tmp_path)
    assert [entry[1:] for entry in found] == [(n, 1 if n < 4 else 2) for n in range(1, 8)]
    assert again.owner == "me"


def test_a_log_and_a_snapshot_that_do_not_meet_are_found_at_start(tmp_path):
    journal = open_journal(tmp_path)
    fill(journal, 30)
    save(journal)
    journal.set_snapshot(POINTER)
    journal.trim_to(15)
    save(journal)
    journal.snapshot = None
    journal._state_dirty = True
    save(journal)
    journal.close()
    with pytest.raises(CorruptState, match="do not meet"):
        open_journal(tmp_path)


def test_a_journal_of_the_version_before_snapshots_is_read(tmp_path):
    journal = open_journal(tmp_path)
    fill(journal, 3)
    journal.set_term(4, "x")
    save(journal)
    journal.close()

    def as_written_then(txn, db):
        body = msgpack.packb([1, 4, "x", 2, None, None, 0, 0, "me"])
        txn.put(STATE_KEY, zlib.crc32(body).to_bytes(4, "big") + body, db=db)

    damage(tmp_path, b"meta", as_written_then)
    journal = open_journal(tmp_path)
    assert (journal.term, journal.owner, journal.snapshot) == (4, "me", None)
    journal.close()


def test_a_journal_of_a_newer_version_is_named_as_such(tmp_path):
    journal = open_journal(tmp_path)
    save(journal)
    journal.close()

    def newer(txn, db):
        body = msgpack.packb([FORMAT + 1, "who knows"])
        txn.put(STATE_KEY, zlib.crc32(body).to_bytes(4, "big") + body, db=db)

    damage(tmp_path, b"meta", newer)
    with pytest.raises(CorruptState, match="another version of lictor"):
        open_journal(tmp_path)


def test_room_that_was_freed_is_room_again(tmp_path):
    journal = open_journal(tmp_path, map_bytes=2**21)
    while not journal.full:
        for _ in range(8):
            journal.append((payload_command(0.0, b"x" * 3000), journal.last_index + 1, 1))
        save(journal)
    assert journal.pressed
    last = journal.last_index
    pointer = SnapshotPointer(name=f"snap-1-{last}", index=last, term=1, size=1, sha256=b"h" * 32)
    journal.set_snapshot(pointer)
    journal.trim_to(last)
    save(journal)
    while journal.discard_trimmed(100):
        pass
    assert not journal.full
    assert not journal.pressed
    for _ in range(13):
        for _ in range(8):
            journal.append((payload_command(0.0, b"x" * 3000), journal.last_index + 1, 1))
        save(journal)
    journal.close()


def test_a_disk_that_is_about_to_be_full_refuses_payload(tmp_path):
    journal = open_journal(tmp_path)
    fill(journal, 1)
    journal.measure_free = lambda: 64 * 1024 * 1024 - 1
    save(journal)
    assert journal.full
    journal.measure_free = lambda: 65 * 1024 * 1024
    journal.set_term(3, None)
    save(journal)
    assert not journal.full
    journal.close()


def test_a_map_that_may_outgrow_the_disk_is_told_at_start(tmp_path):
    journal = open_journal(tmp_path)
    assert journal.shortage() == ""
    journal._free_bytes = 1000
    assert "may grow to 16777216 bytes" in journal.shortage()
    journal.close()


def test_the_file_is_filled_ahead_and_what_is_in_it_stays(tmp_path):
    journal = open_journal(tmp_path, reserve_bytes=0)
    file = tmp_path / "data.mdb"
    sizes = set()
    for number in range(1, 41):
        journal.append((payload_command(1.0, b"%02d" % number * 20_000), number, 1))
        save(journal)
        journal.preallocate()
        sizes.add(file.stat().st_size)
    expected = [journal.entry(index) for index in range(1, 41)]
    assert file.stat().st_size > journal.used_bytes + 2**20 // 2
    assert len({size for size in sizes if size > 2**19}) <= 5  # not with each batch
    journal.close()
    assert reopened(tmp_path)[1] == expected


def test_a_file_that_cannot_be_filled_ahead_grows_as_it_is_written(tmp_path, monkeypatch):
    journal = open_journal(tmp_path, reserve_bytes=0)
    fill(journal, 100, row=100)
    journal.append((payload_command(1.0, b"x" * 2**20), 101, 1))
    save(journal)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("raftstore.raft.journal.os.pwrite", full)
    journal.preallocate()
    monkeypatch.undo()
    fill(journal, 3, row=1)
    journal.close()
    assert reopened(tmp_path)[0].last_index == 104
