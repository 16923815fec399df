"""A worker gives out what it was told to keep, in turns, until it is dropped or too old."""

from __future__ import annotations

from agent.dns.worker import WAITING_MAX, Worker
from agent.dns.worker_frames import Asked, Drop, Frames, Served, Told, encode

CLIENT = ("192.0.2.1", 4000)
QUESTION = b"\x12\x34question"
KEY = QUESTION[2:]


class Agent:
    """The other end: what the worker said, and what its clients got."""

    def __init__(self) -> None:
        self.frames = Frames()
        self.heard: list[object] = []
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.worker = Worker(lambda data: self.heard.extend(self.frames.feed(data)))

    def ask(self, data: bytes = QUESTION) -> int:
        """A packet comes that nothing is ready for; its number."""
        self.worker.ask(data, CLIENT, lambda out, addr: self.sent.append((out, addr)))
        asked = self.heard[-1]
        assert isinstance(asked, Asked)
        assert (asked.client, asked.packet) == (CLIENT[0], data)
        return asked.number

    def tell(self, frame: Told | Drop) -> None:
        self.worker.heard(encode(frame))


def kept() -> Agent:
    agent = Agent()
    agent.tell(Told(agent.ask(), True, (b"a", b"b", b"c")))
    return agent


def test_the_client_gets_one_and_the_others_take_turns() -> None:
    agent = kept()
    assert agent.sent == [(b"\x12\x34c", CLIENT)]
    ready = agent.worker.hot[KEY]
    assert [ready() for _ in range(6)] == [b"a", b"b", b"c"] * 2


def test_what_is_dropped_is_not_given_out_any_more() -> None:
    agent = kept()
    agent.tell(Drop(b"other"))
    assert KEY in agent.worker.hot
    agent.tell(Drop(KEY))
    assert KEY not in agent.worker.hot
    agent = kept()
    agent.tell(Drop(b""))
    assert not agent.worker.hot


def test_nothing_is_given_out_for_longer_than_two_ticks() -> None:
    agent = kept()
    agent.worker.tick()
    assert KEY in agent.worker.hot
    agent.worker.tick()
    assert KEY not in agent.worker.hot


def test_what_is_not_to_be_kept_or_answered_is_not() -> None:
    agent = Agent()
    agent.tell(Told(agent.ask(), False, (b"once",)))
    assert not agent.worker.hot
    agent.tell(Told(agent.ask(), False, ()))
    agent.tell(Told(4711, True, (b"nobody asked",)))
    assert len(agent.sent) == 1
    assert not agent.worker.hot


def test_questions_beyond_the_bound_are_dropped_and_hits_are_told() -> None:
    agent = Agent()
    for _ in range(WAITING_MAX + 5):
        agent.worker.ask(QUESTION, CLIENT, lambda out, addr: None)
    assert len(agent.heard) == WAITING_MAX
    agent.worker.hits = 7
    agent.worker.tick()
    agent.worker.tick()
    assert agent.heard[WAITING_MAX:] == [Served(7)]
