"""Requests that wait to enter the log."""

from raftstore.raft.changes import remove
from raftstore.raft.requests import ChangeRequest, Proposal


def test_a_request_has_no_index_and_stands_until_it_is_taken_back():
    for request in (Proposal("t", b"x"), ChangeRequest("t", remove("a"))):
        assert (request.ticket, request.index, request.withdrawn) == ("t", None, False)
