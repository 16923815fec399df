"""The journal keeps what it was given, or says that it did not."""

import itertools

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore.errors import CorruptState, JournalFull
from raftstore.raft.journal import KEY, STATE_KEY, LmdbJournal
from raftstore.raft.log import CONFIG, MemJournal, payload_command

MAP_BYTES = 2**24


def open_journal(path, **settings):
    return LmdbJournal(path, **{"map_bytes": MAP_BYTES, **settings})


def save(journal):
    batch = journal.take()
    if batch is not None:
        journal.persist(batch)
        journal.persisted(batch)


def fill(journal, count, term=1):
    for _ in range(count):
        index = journal.last_index + 1
        journal.append((payload_command(1.0, b"%d" % index), index, term))


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


@pytest.mark.parametrize("position", [0, 5, 11, 12, -1])
def test_a_flipped_bit_in_an_entry_is_found_at_start(tmp_path, position):
    journal = open_journal(tmp_path)
    fill(journal, 5)
    save(journal)
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
        fill(journal, 5)
        journal.commit_hint = 5
        save(journal)
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


def test_the_memory_journal_keeps_everything():
    journal = MemJournal()
    fill(journal, 100)
    save(journal)
    journal.trim_memory(100)
    assert len(journal.entries(1, 100)) == 100
