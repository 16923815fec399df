"""What waits for a step, and that it is bounded."""

from hypothesis import given
from hypothesis import strategies as st

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
    assert intake.take(9, 99) == [second]
    assert intake.take(9, 99) == []
    assert intake.has_room(10)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=20))
def test_an_intake_gives_out_all_in_order_and_never_more_than_there_is_room_for(queued):
    intake = Intake(count_max=20, bytes_max=200)
    proposals = [Proposal(number, b"x" * size) for number, (size, _) in enumerate(queued)]
    for proposal, (_, withdrawn) in zip(proposals, queued, strict=True):
        proposal.withdrawn = withdrawn
        intake.put(proposal)
    taken = []
    while some := intake.take(3, 10):
        assert len(some) <= 3
        assert len(some) == 1 or sum(len(one.payload) for one in some) <= 10
        taken += some
    assert taken == [one for one in proposals if not one.withdrawn]
    assert intake.has_room(200)


def test_draining_gives_withdrawn_proposals_too():
    intake = Intake(count_max=2, bytes_max=10)
    gone = Proposal("t", b"123")
    gone.withdrawn = True
    intake.put(gone)
    assert intake.drain() == [gone]
    assert not intake
    assert intake.has_room(10)
