"""What a leader sends next to one follower."""

from raftstore.raft.progress import Progress


def test_a_fresh_link_sends_one_append_and_waits():
    progress = Progress(5, 1)
    assert progress.may_send(8, 1000)
    progress.sent(1, 10, 6, 0.0)
    assert not progress.may_send(8, 1000)
    progress.acknowledged(1, 5)
    assert progress.may_send(8, 1000)
    assert progress.next_index == 6


def test_the_window_closes_by_appends_and_by_bytes():
    progress = Progress(1, 1)
    progress.acknowledged(1, 0)
    progress.sent(1, 10, 2, 0.0)
    progress.sent(2, 10, 3, 0.0)
    assert not progress.may_send(2, 1000)
    assert not progress.may_send(8, 20)
    progress.acknowledged(2, 2)  # answers for the first as well
    assert progress.may_send(2, 20)
    assert progress.inflight_bytes == 0


def test_losing_the_link_starts_over_after_the_match_and_old_answers_do_not_move_it():
    progress = Progress(1, 1)
    progress.acknowledged(1, 0)
    progress.sent(1, 10, 9, 0.0)
    progress.restart(4, 2)
    assert progress.probing and progress.next_index == 4
    progress.refused(1, 1, 0, 2)
    assert progress.next_index == 4
    progress.acknowledged(1, 2)
    assert progress.probing


def test_a_refusal_goes_back_but_never_below_the_match():
    progress = Progress(10, 1)
    progress.refused(1, 3, 5, 2)
    assert progress.next_index == 6
    progress.refused(2, 99, 0, 3)  # a hint beyond what we sent still goes back by one
    assert progress.next_index == 5


def test_silence_is_noticed():
    progress = Progress(1, 1)
    assert not progress.overdue(100.0, 1.0)
    progress.sent(1, 1, 2, 0.0)
    assert progress.overdue(1.1, 1.0)
    assert not progress.overdue(0.9, 1.0)
