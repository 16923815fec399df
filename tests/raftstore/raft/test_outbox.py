"""Messages leave in the order they were put, in their class, once."""

from __future__ import annotations

from raftstore.raft.frames import Probe, VoteReply
from raftstore.raft.outbox import Outbox


def test_what_was_put_is_taken_once_and_in_order() -> None:
    box = Outbox()
    probes = [Probe(1, number) for number in range(3)]
    for probe in probes:
        box.put("b", probe, late=False)
    box.put("c", VoteReply(1, True), late=True)
    early, late = box.take()
    assert early == [("b", probe) for probe in probes]
    assert late == [("c", VoteReply(1, True))]
    assert box.take() == ([], [])
