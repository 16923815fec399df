"""What one command and one answer cost, and that neither grows with the catalog.

Run with ``pytest tests/bench/test_state_bench.py --benchmark-enable`` for the figures; without it
each body runs once on a smaller state, and only the growth is checked.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Iterator

import pytest

from raftstore import wire
from raftstore.commands import Applied, Deregister, KVSet, Outcome, Register, Transaction
from raftstore.definition_commands import SetConfigEntry
from raftstore.definitions import ConfigEntry
from raftstore.queries import At, HealthService, KVGet, KVList, ListNodes
from raftstore.records import PASSING, SERF_HEALTH, Check, Node, Service, TxnKV, TxnOperation
from raftstore.state import StateMachine

SMALL = 1_000
#: Instances of a name, services on a node.
NAME_SHARE = NODE_SHARE = 10


def registration(number: int, *, port: int = 80) -> Register:
    service = Service(id=f"s{number}", name=f"service-{number // NAME_SHARE}", port=port)
    return Register(
        node=Node(name=f"node-{number // NODE_SHARE}", address="10.0.0.1"),
        service=service,
        checks=(Check(id=f"service:s{number}", service_id=service.id, status=PASSING),),
    )


def filled(count: int) -> tuple[StateMachine, Iterator[int]]:
    """A state with so many services, and the indexes that follow."""
    state, indexes = StateMachine(), itertools.count(2)
    for number in range(count):
        state.apply(next(indexes), 0.0, registration(number))
    for number in range(count):
        state.apply(next(indexes), 0.0, KVSet(key=f"app/{number}", value=b"v"))
    state.touched()
    return state, indexes


@pytest.fixture(scope="module")
def many(request: pytest.FixtureRequest) -> int:
    """Services of a large state."""
    return 50_000 if request.config.getoption("benchmark_enable") else 15_000


@pytest.fixture(scope="module")
def some(many: int) -> int:
    """Rows of a state that a test makes for itself."""
    return many // 5


@pytest.fixture(scope="module")
def small() -> tuple[StateMachine, Iterator[int]]:
    return filled(SMALL)


@pytest.fixture(scope="module")
def large(many: int) -> tuple[StateMachine, Iterator[int]]:
    return filled(many)


def test_apply_register(benchmark, large):
    state, indexes = large
    ports = itertools.count(1)

    def run() -> None:
        state.apply(next(indexes), 0.0, registration(7, port=next(ports)))
        state.touched()

    benchmark(run)


def test_apply_kv_set(benchmark, large):
    state, indexes = large
    values = itertools.count()

    def run() -> None:
        state.apply(next(indexes), 0.0, KVSet(key="app/77", value=b"%d" % next(values)))
        state.touched()

    benchmark(run)


@pytest.mark.parametrize("fails", [False, True], ids=["done", "taken back"])
def test_apply_a_transaction_of_64_operations(benchmark, large, fails):
    state, indexes = large
    values = itertools.count()
    last = TxnKV(verb="check-not-exists", key="app/77" if fails else "nobody")

    def run() -> Outcome:
        value = b"%d" % next(values)
        sets = [TxnKV(verb="set", key=f"app/{number}", value=value) for number in range(63)]
        outcome = state.apply(
            next(indexes), 0.0, Transaction(tuple(TxnOperation(kv=kv) for kv in (*sets, last)))
        )
        state.touched()
        return outcome

    assert bool(wire.decode_txn_answer(benchmark(run).value).errors) is fails


def test_apply_a_config_entry_among_ten_thousand(benchmark, some):
    state, indexes = StateMachine(), itertools.count(2)
    kind = "service-resolver"
    for number in range(some):
        entry = ConfigEntry(kind=kind, name=f"e{number}", content={"ConnectTimeout": number + 1})
        assert isinstance(state.apply(next(indexes), 0.0, SetConfigEntry(entry)), Applied)
    values = itertools.count(1)

    def run() -> None:
        entry = ConfigEntry(kind=kind, name="e77", content={"ConnectTimeout": next(values)})
        state.apply(next(indexes), 0.0, SetConfigEntry(entry))
        state.touched()

    benchmark(run)


def test_answer_health_service_with_twenty_instances(benchmark):
    state, indexes = filled(0)
    for number in range(20):
        node = Node(name=f"n{number}", address="10.0.0.1")
        checks = (Check(id=SERF_HEALTH), Check(id="c", service_id="web"))
        service = Service(id="web", name="web", tags=("v1",))
        state.apply(next(indexes), 0.0, Register(node=node, service=service, checks=checks))
    answer = benchmark(state.answer, HealthService(service="web"))
    assert len(answer.value) == 20


def test_answer_at_an_index_a_thousand_changes_ago(benchmark, some):
    state, indexes = filled(some)
    then = state.index
    expected = state.answer(HealthService(service="service-7"))
    for turn in range(1000):
        state.apply(next(indexes), 0.0, registration(7 + turn % 500, port=turn))
    answer = benchmark(state.answer_at, HealthService(service="service-7"), At(index=then))
    assert answer == expected


@pytest.mark.parametrize("query", [KVGet("app/77"), KVList("app/77")], ids=["key", "prefix"])
def test_answer_for_keys_a_thousand_changes_ago(benchmark, query, some):
    state, indexes = filled(some)
    then = state.index
    expected = state.answer(query)
    for turn in range(1000):
        state.apply(next(indexes), 0.0, KVSet(key=f"app/{turn}", value=b"new"))
    assert benchmark(state.answer_at, query, At(index=then)) == expected


def test_answer_a_list_of_nodes_at_an_earlier_index(benchmark, some):
    state, indexes = filled(some)
    then = state.index
    state.apply(next(indexes), 0.0, registration(7, port=81))
    answer = benchmark(state.answer_at, ListNodes(), At(index=then))
    assert len(answer.value) == some // NODE_SHARE


def test_encode_register(benchmark):
    benchmark(wire.encode_command, registration(7))


def test_decode_register(benchmark):
    benchmark(wire.decode_command, wire.encode_command(registration(7)))


def quickest_s(run: Callable[[], None], rounds: int = 15, calls: int = 100) -> float:
    """The best of some rounds: what the work costs when nobody else has the processor."""
    best = float("inf")
    gc.disable()
    try:
        for _ in range(rounds):
            start = time.perf_counter()
            for _ in range(calls):
                run()
            best = min(best, time.perf_counter() - start)
    finally:
        gc.enable()
    return best / calls


def change_service(state: StateMachine, indexes: Iterator[int], turn: Iterator[int]) -> None:
    state.apply(next(indexes), 0.0, registration(7, port=next(turn)))
    state.touched()


def come_and_go(state: StateMachine, indexes: Iterator[int], turn: Iterator[int]) -> None:
    node = Node(name="guest", address="10.0.0.2")
    service = Service(id="g", name=f"guest-{next(turn)}")
    state.apply(next(indexes), 0.0, Register(node=node, service=service))
    state.apply(next(indexes), 0.0, Deregister(node="guest"))
    state.touched()


def write_key(state: StateMachine, indexes: Iterator[int], turn: Iterator[int]) -> None:
    state.apply(next(indexes), 0.0, KVSet(key="app/77", value=b"%d" % next(turn)))
    state.touched()


def ask_health(state: StateMachine, indexes: Iterator[int], turn: Iterator[int]) -> None:
    state.answer(HealthService(service="service-7"))


@pytest.mark.parametrize("work", [change_service, come_and_go, write_key, ask_health])
def test_the_cost_does_not_grow_with_the_catalog(work, small, large, many):
    turn = itertools.count(1)
    few_s = quickest_s(lambda: work(*small, turn))
    many_s = quickest_s(lambda: work(*large, turn))
    told = f"{few_s * 1e6:.1f} us with {SMALL}, {many_s * 1e6:.1f} us with {many}"
    assert many_s < 3 * few_s, told
