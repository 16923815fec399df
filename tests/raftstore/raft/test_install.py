"""Transfers of snapshots, decision by decision: windows, offsets, and what a sender may not do."""

import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.raft.config import RaftConfig
from raftstore.raft.frames import (
    HAVE,
    REFUSED,
    WANT,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotReply,
    transfer_id,
)
from raftstore.raft.install import (
    BeginIncoming,
    ChunkRead,
    DropIncoming,
    Failed,
    Installs,
    Loaded,
    LoadIncoming,
    Sending,
    Unreadable,
    WriteIncoming,
    Written,
)
from raftstore.raft.log import SnapshotPointer

CONFIG = RaftConfig(
    node_id="a", install_chunk_bytes=10, install_window_bytes_max=40, install_bytes_max=1000
)
SHA = bytes(range(32))
OFFER = SnapshotOffer(term=3, index=50, index_term=2, size=95, sha256=SHA)
POINTER = SnapshotPointer(name="snap-2-50", index=50, term=2, size=95, sha256=SHA)


class Engine:
    """What transfers need of the engine, written down."""

    def __init__(self, *, leading=False, commit=7):
        self.leading, self.commit, self.clock = leading, commit, 100.0
        self.sent, self.installed, self.matches, self.behind = [], [], [], ()

    def now(self):
        return self.clock

    def leads(self):
        return self.leading

    def term(self):
        return 3

    def leader_id(self):
        return "a" if self.leading else "boss"

    def commit_index(self):
        return self.commit

    def peers_behind_log(self):
        return self.behind

    def post(self, peer, message, *, late=False):
        self.sent.append((peer, message, late))

    def matched(self, peer, index):
        self.matches.append((peer, index))

    def install(self, pointer, config, stamp):
        self.installed.append(pointer)
        self.commit = pointer.index

    def answers(self):
        sent, self.sent = self.sent, []
        return [(m.status, m.offset) for _, m, _ in sent]


def receiver(**settings):
    engine = Engine(**settings)
    return Installs(CONFIG, SimpleNamespace(snapshot=None, first_index=0), engine), engine


def chunk(offset, size, transfer=OFFER.transfer):
    return SnapshotChunk(term=3, transfer=transfer, offset=offset, data=b"x" * size)


def report(installs, *reports):
    for item in reports:
        installs.report(item)
    installs.begin_step()
    return installs.take_tasks()


def loaded(swaps):
    return Loaded(
        transfer=OFFER.transfer,
        pointer=POINTER,
        config=(1, b"c"),
        stamp=1.0,
        swap=lambda: swaps.append(1),
    )


def receive_all(installs, engine):
    engine.on_snapshot("boss", OFFER)
    assert installs.take_tasks() == [BeginIncoming(OFFER.transfer, 95)]
    report(installs, Written(OFFER.transfer, 0))
    for offset in range(0, 95, 10):
        engine.on_snapshot("boss", chunk(offset, min(10, 95 - offset)))
        installs.take_tasks()
        tasks = report(installs, Written(OFFER.transfer, min(offset + 10, 95)))
    return tasks


def test_a_file_is_taken_in_order_loaded_and_then_installed_and_only_then_acknowledged():
    installs, engine = receiver()
    assert receive_all(installs, engine) == [LoadIncoming(OFFER)]
    assert engine.answers()[-1] == (WANT, 95)
    swaps = []
    assert report(installs, loaded(swaps)) == []
    assert (engine.installed, swaps) == ([POINTER], [1])
    peer, reply, late = engine.sent.pop()
    assert (peer, reply.status, reply.offset, late) == ("boss", HAVE, 50, True)


def test_what_the_log_has_come_to_by_itself_is_not_replaced_by_something_older():
    installs, engine = receiver()
    receive_all(installs, engine)
    engine.commit = 50
    swaps = []
    assert report(installs, loaded(swaps)) == [DropIncoming()]
    assert (engine.installed, swaps) == ([], [])
    assert engine.answers()[-1] == (HAVE, 50)


def test_an_offer_of_what_is_here_already_is_answered_with_how_far_we_are():
    installs, engine = receiver(commit=60)
    engine.on_snapshot("boss", OFFER)
    assert engine.answers() == [(HAVE, 60)]
    assert installs.take_tasks() == []


def test_a_leader_does_not_install_what_it_had_begun_to_load_as_a_follower():
    installs, engine = receiver()
    receive_all(installs, engine)
    engine.leading = True
    assert report(installs, loaded([])) == [DropIncoming()]
    assert engine.installed == []


def test_a_file_over_the_limit_is_refused_before_a_byte_of_it_is_taken():
    installs, engine = receiver()
    engine.on_snapshot("boss", SnapshotOffer(term=3, index=50, index_term=2, size=1001, sha256=SHA))
    assert engine.answers() == [(REFUSED, 0)]
    assert installs.take_tasks() == []


@given(
    chunks=st.lists(st.tuples(st.integers(0, 120), st.integers(1, 60), st.booleans()), max_size=30)
)
def test_no_sender_makes_us_write_beyond_the_offer_or_hold_more_than_a_window(chunks):
    installs, engine = receiver()
    engine.on_snapshot("boss", OFFER)
    installs.take_tasks()
    report(installs, Written(OFFER.transfer, 0))
    held, written = 0, 0
    for offset, size, writes in chunks:
        engine.on_snapshot("boss", chunk(offset, size))
        for task in installs.take_tasks():
            assert isinstance(task, WriteIncoming)
            assert task.offset == written + held
            held += len(task.data)
        assert written + held <= 95
        assert held <= 50
        if writes and held:
            written, held = written + held, 0
            report(installs, Written(OFFER.transfer, written))
            if written == 95:
                break


def test_a_new_offer_of_the_same_file_goes_on_where_it_was():
    installs, engine = receiver()
    engine.on_snapshot("boss", OFFER)
    report(installs, Written(OFFER.transfer, 0))
    engine.on_snapshot("boss", chunk(0, 10))
    engine.on_snapshot("boss", chunk(10, 10))
    report(installs, Written(OFFER.transfer, 10))
    engine.answers()
    again = SnapshotOffer(term=4, index=50, index_term=2, size=95, sha256=SHA)
    engine.on_snapshot("other", again)
    assert engine.answers() == [(WANT, 10)]
    engine.on_snapshot("other", chunk(10, 10))
    assert installs.take_tasks()[-1] == WriteIncoming(OFFER.transfer, 10, b"x" * 10)


def test_another_file_takes_its_place_but_not_while_it_is_being_loaded():
    installs, engine = receiver()
    engine.on_snapshot("boss", OFFER)
    other = SnapshotOffer(term=3, index=60, index_term=2, size=95, sha256=SHA[::-1])
    engine.on_snapshot("boss", other)
    assert installs.take_tasks()[-1] == BeginIncoming(other.transfer, 95)
    installs, engine = receiver()
    receive_all(installs, engine)
    engine.answers()
    engine.on_snapshot("boss", other)
    assert engine.answers() == [(REFUSED, 0)]


def test_a_file_that_comes_to_nothing_is_dropped_and_the_leader_told():
    installs, engine = receiver()
    receive_all(installs, engine)
    engine.answers()
    assert report(installs, Failed(OFFER.transfer)) == [DropIncoming()]
    assert engine.answers() == [(REFUSED, 0)]
    engine.on_snapshot("boss", OFFER)
    assert installs.take_tasks() == [BeginIncoming(OFFER.transfer, 95)]


# -- the sender


def sender():
    engine = Engine(leading=True)
    engine.behind = ("b",)
    installs = Installs(CONFIG, SimpleNamespace(snapshot=POINTER, first_index=40), engine)
    installs.send()
    assert engine.sent.pop()[1] == OFFER
    return installs, engine


def answer(engine, status, offset, transfer=None):
    transfer = transfer_id(SHA) if transfer is None else transfer
    engine.on_snapshot("b", SnapshotReply(term=3, transfer=transfer, status=status, offset=offset))


def read_offsets(installs):
    installs.send()
    return [(task.offset, task.size) for task in installs.take_tasks()]


def test_nothing_is_sent_before_the_peer_has_said_where_to_begin():
    installs, engine = sender()
    assert read_offsets(installs) == []
    answer(engine, WANT, 30)
    assert read_offsets(installs) == [(30, 10)]
    report(installs, ChunkRead("b", transfer_id(SHA), 30, b"y" * 10))
    assert engine.sent.pop()[1].data == b"y" * 10


def test_the_window_widens_while_answers_are_quick_and_halves_when_they_are_late():
    installs, engine = sender()
    answer(engine, WANT, 0)
    assert read_offsets(installs) == [(0, 10)]
    answer(engine, WANT, 10)
    assert read_offsets(installs) == [(10, 10), (20, 10)]
    engine.clock += 1.0
    answer(engine, WANT, 20)
    assert read_offsets(installs) == []  # one is still on its way, and the window is one again
    answer(engine, WANT, 30)
    assert read_offsets(installs) == [(30, 10)]


def test_the_peer_has_it_all_and_counts_as_matching():
    installs, engine = sender()
    answer(engine, HAVE, 55)
    assert engine.matches == [("b", 55)]
    assert installs.sent == 1
    assert installs.held_index() is None


def test_silence_and_refusals_lead_to_a_new_offer_but_not_at_once():
    installs, engine = sender()
    for status in (None, REFUSED):
        if status is not None:
            answer(engine, status, 0)
        engine.clock += CONFIG.install_retry_s * 0.9
        installs.send()
        assert engine.sent == []
        engine.clock += CONFIG.install_retry_s * 0.2
        installs.send()
        assert isinstance(engine.sent.pop()[1], SnapshotOffer)


def test_a_file_that_is_refused_again_and_again_is_doubted():
    installs, engine = sender()
    for _ in range(3):
        assert installs.doubted == ""
        answer(engine, REFUSED, 0)
    assert installs.doubted == POINTER.name


def test_a_new_link_begins_with_a_new_offer():
    installs, engine = sender()
    answer(engine, WANT, 0)
    read_offsets(installs)
    engine.on_connected("b")
    installs.send()
    assert isinstance(engine.sent.pop()[1], SnapshotOffer)


def test_answers_about_another_file_move_nothing():
    installs, engine = sender()
    answer(engine, WANT, 20, transfer=5)
    assert read_offsets(installs) == []


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_lost_and_however_late_the_whole_file_is_sent_in_the_end(seed):
    rng, now = random.Random(seed), 0.0
    sending, have = Sending(CONFIG, POINTER, now), 0
    sending.wanted(0, now)
    for _ in range(2000):
        for offset, size in sending.reads(now):
            assert size <= 10
            assert offset + size <= 95
            if offset == have and rng.random() < 0.8:
                have = offset + size
        assert sending.window <= CONFIG.install_window_bytes_max
        now += rng.uniform(0.0, 0.3)
        if rng.random() < 0.2:
            sending.offered(now)
            sending.wanted(have, now)
        elif rng.random() < 0.8:
            sending.wanted(have, now)
        if have == 95:
            return
    raise AssertionError(f"got stuck at {have}")


def test_a_file_that_is_there_no_more_is_replaced_by_the_newest_at_once():
    """A sender that kept to it never got through (seed 3 of the simulated snapshots)."""
    installs, engine = sender()
    answer(engine, WANT, 30)
    assert read_offsets(installs) == [(30, 10)]
    newer = SnapshotPointer(name="snap-2-60", index=60, term=2, size=99, sha256=SHA[::-1])
    installs._journal.snapshot = newer
    report(installs, Unreadable("b", transfer_id(SHA)))
    installs.send()
    assert engine.sent.pop()[1].sha256 == newer.sha256
    assert installs.doubted == ""


def test_the_newest_file_that_cannot_be_read_is_doubted():
    installs, engine = sender()
    answer(engine, WANT, 30)
    read_offsets(installs)
    report(installs, Unreadable("b", 5))
    assert installs.doubted == ""  # that was another file
    report(installs, Unreadable("b", transfer_id(SHA)))
    assert installs.doubted == POINTER.name
