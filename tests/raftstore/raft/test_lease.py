"""When a leader may read without asking."""

from raftstore.raft.lease import ROUNDS_MAX, Lease

PEERS = ("b", "c", "d", "e")


def granted(at: float = 10.0) -> Lease:
    lease = Lease(0.8)
    number = lease.begin(at)
    lease.answered("b", number)
    lease.answered("c", number)
    return lease


def test_a_lease_counts_from_when_the_probe_was_sent_and_needs_a_majority():
    lease = Lease(0.8)
    number = lease.begin(10.0)
    lease.answered("b", number)
    lease.answered("b", number)
    assert lease.left_s(10.1, PEERS) <= 0  # two of five, ourselves included
    lease.answered("c", number)
    assert abs(lease.left_s(10.1, PEERS) - 0.7) < 1e-9
    assert lease.left_s(10.8, PEERS) <= 0


def test_the_lease_is_as_old_as_the_oldest_promise_it_needs():
    lease = granted(10.0)
    second = lease.begin(10.5)
    lease.answered("b", second)
    assert abs(lease.left_s(10.5, PEERS) - 0.3) < 1e-9
    lease.answered("d", second)
    assert abs(lease.left_s(10.5, PEERS) - 0.8) < 1e-9


def test_changes_of_set_role_and_leader_end_it():
    for end in ("forget", "reset", "revoke"):
        lease = granted()
        getattr(lease, end)()
        assert lease.left_s(10.1, PEERS) <= 0
        number = lease.begin(10.2)
        for peer in PEERS:
            lease.answered(peer, number)
        assert (lease.left_s(10.2, PEERS) > 0) == (end != "revoke")


def test_answers_to_what_was_never_asked_or_is_forgotten_give_nothing():
    lease = Lease(0.8)
    for peer in PEERS:
        lease.answered(peer, 7)
    lease.begin(10.0)
    assert lease.left_s(10.0, PEERS) <= 0
    lease = granted()
    for at in range(ROUNDS_MAX + 5):
        lease.begin(10.0 + at / 100)
    assert lease.left_s(10.1, PEERS) <= 0  # so old that its time is not known any more
    assert lease.left_s(10.1, ()) <= 0
