"""What waits for a step, and that it is bounded."""

from raftstore.raft.frames import Removed
from raftstore.raft.queues import Inbox, Intake
from raftstore.raft.requests import Proposal


def test_an_inbox_is_bounded_by_number_and_by_bytes_and_taken_in_order():
    inbox = Inbox(messages_max=3, bytes_max=100)
    assert inbox.put("a", Removed(1), 60)
    assert not inbox.put("b", Removed(2), 41)
    assert inbox.put("b", Removed(3), 40)
    assert inbox.put("c", Removed(4), 0)
    assert not inbox.put("d", Removed(5), 0)
    assert len(inbox.messages) == 3
    assert inbox.take() == [("a", Removed(1)), ("b", Removed(3)), ("c", Removed(4))]
    assert inbox.take() == []
    assert inbox.put("a", Removed(6), 100)


def test_an_intake_passes_over_what_was_withdrawn_and_forgets_its_bytes():
    intake = Intake(count_max=2, bytes_max=10)
    first, second = Proposal("t", b"12345"), Proposal("u", b"12345")
    assert intake.has_room(10)
    intake.put(first)
    assert not intake.has_room(6)
    assert intake.has_room(5)
    intake.put(second)
    assert not intake.has_room(0)
    first.withdrawn = True
    assert intake.next() is second
    assert intake.next() is None
    assert intake.has_room(10)


def test_draining_gives_withdrawn_proposals_too():
    intake = Intake(count_max=2, bytes_max=10)
    gone = Proposal("t", b"123")
    gone.withdrawn = True
    intake.put(gone)
    assert intake.drain() == [gone]
    assert not intake
    assert intake.has_room(10)
