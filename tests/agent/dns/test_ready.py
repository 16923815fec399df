"""Ready answers: bounded, dropped with their query, and shuffled without favour."""

import collections

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent.dns.ready import (
    ANSWER_BYTES_MAX,
    PACKETS_KEPT,
    REDRAW_S,
    ROUNDS,
    ReadyAnswer,
    ReadyAnswers,
)
from raftstore.queries import HealthService, Query
from raftstore.records import ServiceName


def query(name: str) -> Query[object]:
    return HealthService(service=ServiceName(name))  # type: ignore[return-value]


class Turns:
    """Packets that say which order they are of, and how they begin."""

    def __init__(self, count: int = 1, *, again: bool = True, size: int = 0) -> None:
        self.count = count
        self.again = again
        self.size = size
        self.order = 0
        self.written: list[tuple[int, int, int]] = []

    def draw(self) -> None:
        self.order += 1

    def write(self, turn: int, now_s: int) -> bytes:
        self.written.append((self.order, turn, now_s))
        return b"\0\0" + bytes((self.order % 256, turn % 256)) + b"x" * self.size


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def answer(turns: Turns, clock: Clock | None = None, *, timed: bool = False) -> ReadyAnswer:
    return ReadyAnswer(turns, timed=timed, queries=(), clock=clock or Clock())


def fixed(*names: str, size: int = 10) -> ReadyAnswer:
    made = ReadyAnswer(
        Turns(size=max(0, size - 2)), timed=False,
        queries=tuple(query(name) for name in names), clock=Clock(),
    )  # fmt: skip
    made.body(0)
    return made


def test_in_a_round_every_instance_begins_once_and_packets_are_kept_for_many() -> None:
    turns, clock = Turns(5), Clock()
    ready = answer(turns, clock)
    for _ in range(PACKETS_KEPT):
        assert [ready.next()[1] for _ in range(5)] == [0, 1, 2, 3, 4]
    kept = PACKETS_KEPT // 5
    assert turns.order == 1 + kept, "of few instances several orders are kept"
    assert len(turns.written) == 5 + 5 * kept, "a round to see that it is asked often, and those"


def test_an_order_is_drawn_anew_after_a_moment() -> None:
    turns, clock = Turns(2), Clock()
    ready = answer(turns, clock)
    for _ in range(2 * ROUNDS):
        ready.next()
    clock.now = REDRAW_S
    before = turns.order
    for _ in range(4 * PACKETS_KEPT):
        ready.next()
    assert turns.order > before


def test_what_is_seldom_asked_keeps_nothing() -> None:
    turns, clock = Turns(3), Clock()
    ready = answer(turns, clock)
    for number in range(9):
        clock.now += REDRAW_S
        assert ready.next()[1] == number % 3
    assert turns.order == 3
    assert len(turns.written) == 9


def test_where_a_round_takes_too_many_bytes_no_packet_is_served_twice() -> None:
    turns = Turns(100, size=ANSWER_BYTES_MAX // 10)
    ready = answer(turns)
    served = [ready.next()[:2] for _ in range(90)]
    assert len(set(served)) == 90
    assert max(collections.Counter(order for order, *_ in served).values()) <= 9
    assert ready.cost_bytes <= ANSWER_BYTES_MAX


def test_an_order_by_weight_is_drawn_for_every_reply() -> None:
    turns = Turns(again=False)
    ready = answer(turns)
    assert len({ready.next() for _ in range(20)}) == 20


def test_what_never_changes_is_made_once() -> None:
    turns = Turns()
    ready = answer(turns)
    assert len({ready.next() for _ in range(100)}) == 1
    assert len(turns.written) == 1


def test_an_answer_that_tells_the_time_is_made_once_a_second() -> None:
    turns = Turns()
    ready = answer(turns, timed=True)
    assert ready.body(7) == ready.body(7) != ready.body(8)
    assert [now_s for _, _, now_s in turns.written] == [7, 8]


def test_a_moved_query_drops_all_its_answers_and_no_others() -> None:
    ready = ReadyAnswers(10)
    ready.keep(b"1", fixed("a", "b"))
    ready.keep(b"2", fixed("a"))
    ready.keep(b"3", fixed("c"))
    assert ready.drop(query("a")) == [query("b")]
    assert ready.get(b"1") is None
    assert ready.get(b"3") is not None
    ready.check()


def test_the_oldest_goes_when_bytes_run_out() -> None:
    ready = ReadyAnswers(10, bytes_max=25)
    for key in (b"1", b"2", b"3"):
        ready.keep(key, fixed("a"))
    assert len(ready) == 2
    assert ready.get(b"1") is None


class ReadyAnswersMachine(RuleBasedStateMachine):
    """Whatever is kept and dropped, the bound holds and nothing stale stays."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = ReadyAnswers(4, bytes_max=60)
        self.names: dict[bytes, set[str]] = {}

    @rule(
        key=st.binary(min_size=1, max_size=1),
        names=st.sets(st.sampled_from("abcd"), min_size=1),
        size=st.integers(1, 40),
    )
    def keep(self, key: bytes, names: set[str], size: int) -> None:
        for unused in self.ready.keep(key, fixed(*names, size=size)):
            assert not self.ready.watched(unused)
        self.names[key] = names

    @rule(name=st.sampled_from("abcd"))
    def drop(self, name: str) -> None:
        self.ready.drop(query(name))
        assert not self.ready.watched(query(name))
        for key, names in self.names.items():
            assert name not in names or self.ready.get(key) is None

    @invariant()
    def holds(self) -> None:
        self.ready.check()


TestReadyAnswersMachine = ReadyAnswersMachine.TestCase
TestReadyAnswersMachine.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
