"""The read index: a quorum of this round, and everything up to its commit index applied."""

from raftstore.raft.reads import ReadIndex


def test_a_read_waits_for_a_majority_and_for_the_apply():
    reads = ReadIndex()
    reads.join("r")
    number = reads.begin(10)
    peers = ("b", "c", "d", "e")
    assert reads.served(peers, 10) == []
    reads.answered("b", number)
    reads.answered("b", number)  # the same voter again
    assert reads.served(peers, 10) == []
    reads.answered("c", number)
    assert reads.served(peers, 9) == []
    assert reads.served(peers, 10) == [("r", 10)]
    assert reads.served(peers, 10) == []


def test_an_answer_to_an_earlier_round_confirms_no_later_one():
    reads = ReadIndex()
    reads.join("old")
    first = reads.begin(1)
    reads.join("new")
    second = reads.begin(2)
    reads.answered("b", first)
    assert reads.served(("b", "c"), 9) == [("old", 1)]
    reads.answered("b", second)
    assert reads.served(("b", "c"), 9) == [("new", 2)]


def test_an_answer_to_a_round_that_was_never_asked_counts_nothing():
    reads = ReadIndex()
    reads.join("r")
    reads.answered("b", reads.begin(1) + 1)
    assert reads.served(("b", "c"), 9) == []


def test_losing_the_leadership_fails_all_and_old_answers_confirm_nothing():
    reads = ReadIndex()
    reads.join("a")
    number = reads.begin(1)
    reads.join("b")
    assert sorted(reads.reset()) == ["a", "b"]
    reads.join("c")
    assert reads.begin(1) > number
    reads.answered("x", number)
    assert reads.served(("x", "y"), 9) == []


def test_a_leader_without_peers_confirms_itself():
    reads = ReadIndex()
    reads.join("r")
    reads.begin(5)
    assert reads.served((), 5) == [("r", 5)]


def test_no_reads_no_round():
    assert ReadIndex().begin(5) is None
