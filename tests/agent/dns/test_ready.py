"""Ready answers: bounded, dropped with their query, and shuffled without favour."""

import collections
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent.dns.ready import VARIANTS, ReadyAnswer, ReadyAnswers
from raftstore.queries import HealthService, Query
from raftstore.records import ServiceName


def query(name: str) -> Query[object]:
    return HealthService(service=ServiceName(name))  # type: ignore[return-value]


def fixed(*names: str, size: int = 10) -> ReadyAnswer:
    answer = ReadyAnswer(
        lambda now_s: b"\0\0" + b"x" * size,
        shuffled=False,
        timed=False,
        queries=tuple(query(name) for name in names),
    )
    answer.body(0)
    return answer


def test_each_order_is_drawn_anew_after_as_many_replies_as_there_are_variants() -> None:
    written = iter(range(1000))
    answer = ReadyAnswer(
        lambda now_s: b"\0\0" + next(written).to_bytes(2, "big"),
        shuffled=True,
        timed=False,
        queries=(),
    )
    served = collections.Counter(answer.body(0) for _ in range(VARIANTS * 100))
    assert max(served.values()) <= VARIANTS + 1
    assert len(served) >= 100


def test_first_places_are_spread_evenly() -> None:
    rng, names = random.Random(5), list(range(5))

    def write(now_s: int) -> bytes:
        rng.shuffle(names)
        return b"\0\0" + bytes(names)

    answer = ReadyAnswer(write, shuffled=True, timed=False, queries=())
    firsts = collections.Counter(answer.body(0)[0] for _ in range(20_000))
    assert set(firsts) == set(range(5))
    assert all(3000 < count < 5000 for count in firsts.values())


def test_an_answer_that_tells_the_time_is_made_once_a_second() -> None:
    made: list[int] = []

    def write(now_s: int) -> bytes:
        made.append(now_s)
        return b"\0\0" + now_s.to_bytes(4, "big")

    answer = ReadyAnswer(write, shuffled=False, timed=True, queries=())
    assert [answer.body(7), answer.body(7), answer.body(8)] == [
        b"\0\0\0\7",
        b"\0\0\0\7",
        b"\0\0\0\x08",
    ]
    assert made == [7, 8]


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
