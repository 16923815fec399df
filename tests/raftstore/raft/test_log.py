"""The log in memory and the batch that waits for the disk."""

from raftstore.raft.log import (
    CONFIG,
    NOOP_COMMAND,
    HardState,
    MemJournal,
    command_is_valid,
    payload_command,
)


def test_only_our_own_kinds_of_commands_are_valid():
    assert command_is_valid(NOOP_COMMAND)
    assert command_is_valid(payload_command(1.0, b""))
    assert command_is_valid(bytes((CONFIG,)) + b"x")
    for command in (b"", b"\x00short", b"\x01x", b"\x02x", b"\x03x", b"\x04", b"\x05x"):
        assert not command_is_valid(command)


def test_a_batch_holds_the_cut_and_what_replaces_it_together():
    journal = MemJournal()
    for index in (1, 2, 3):
        journal.append((NOOP_COMMAND, index, 1))
    journal.persisted(journal.take())
    assert journal.take() is None
    journal.cut_from(2)
    journal.append((NOOP_COMMAND, 2, 2))
    journal.set_term(2, None)
    batch = journal.take()
    assert (batch.cut_from, batch.entries) == (2, ((NOOP_COMMAND, 2, 2),))
    assert batch.state == HardState(term=2)
    assert batch.state_changed


def test_cutting_what_was_never_saved_needs_no_cut_on_disk():
    journal = MemJournal()
    journal.append((NOOP_COMMAND, 1, 1))
    journal.persisted(journal.take())
    journal.append((NOOP_COMMAND, 2, 1))
    journal.cut_from(2)
    assert journal.take() is None


def test_the_sentinel_stands_before_the_first_entry():
    journal = MemJournal()
    assert (journal.last_index, journal.last_term) == (0, 0)
    assert journal.term_at(0) == 0
    assert journal.term_at(1) is None


def test_the_commit_hint_never_passes_the_end_of_the_log():
    journal = MemJournal()
    for index in (1, 2, 3):
        journal.append((NOOP_COMMAND, index, 1))
    journal.commit_hint = 3
    journal.cut_from(2)
    assert journal.commit_hint == 1
