"""Waiting and waking over an instant log; and the whole store over the real Raft on one server."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from raftstore import wire
from raftstore.commands import (
    Applied,
    KVDelete,
    KVSet,
    NextSerial,
    Register,
    Rejected,
    RequestId,
)
from raftstore.config import StoreConfig
from raftstore.errors import AnswerGone, CorruptState, EncodeError, NoLeader, QueueFull
from raftstore.queries import HealthService, KVGet, KVList
from raftstore.records import Check, CheckId, Node, NodeName, ServiceName
from raftstore.state import StateMachine
from raftstore.store import Store
from tests.raftstore.instant import instant_store
from tests.raftstore.raft.cluster import until

LONG_S = 300.0  # beyond the time limit of a test: nothing may wait it out


async def spin(until, turns: int = 1000) -> None:
    """Give the loop turns until something holds."""
    for _ in range(turns):
        if until():
            return
        await asyncio.sleep(0)
    raise AssertionError("it does not become true")


async def waiting(store: Store, query, min_index: int, wait_s: float = LONG_S):
    """A task that waits, once it really does."""
    before = store.metrics()["watches_open"]
    task = asyncio.get_running_loop().create_task(
        store.wait(query, min_index=min_index, wait_s=wait_s)
    )
    await spin(lambda: store.metrics()["watches_open"] > before)
    return task


async def test_a_proposal_gives_what_the_state_machine_said():
    store, _ = await instant_store()
    assert await store.propose(KVSet(key="a", value=b"1")) == Applied(2, True)
    missing = Register(
        node=Node(name=NodeName("n"), address="a"), checks=(Check(id=CheckId("c"), service_id="x"),)
    )
    assert isinstance(await store.propose(missing), Rejected)
    assert store.answer(KVGet("a")).value.value == b"1"


async def test_a_repeated_request_is_applied_once():
    store, _ = await instant_store()
    payload = wire.encode_command(NextSerial(), request_id=RequestId("boot", 1))
    first = await store.propose_encoded(payload, timeout_s=1)
    assert await store.propose_encoded(payload, timeout_s=1) == first == Applied(2, 1)


async def test_an_outcome_that_is_not_known_any_more_is_no_refusal():
    store, _ = await instant_store()
    first = wire.encode_command(NextSerial(), request_id=RequestId("boot", 1))
    later = wire.encode_command(NextSerial(), request_id=RequestId("boot", 3, 3))
    assert await store.propose_encoded(first, timeout_s=1) == Applied(2, 1)
    assert await store.propose_encoded(later, timeout_s=1) == Applied(3, 2)
    with pytest.raises(AnswerGone, match="answered before") as caught:
        await store.propose_encoded(first, timeout_s=1)
    assert not caught.value.definite
    told = []
    store.propose_soon(first, timeout_s=1, done=told.append)
    await spin(lambda: told)
    assert isinstance(told[0], AnswerGone)
    assert store.state.ca.serial == 2


async def test_a_value_that_cannot_be_read_back_is_refused_before_the_log():
    store, log = await instant_store()
    with pytest.raises(EncodeError):
        await store.propose(KVSet(key="a", flags=2**64))
    assert log.index == 1


async def test_a_wait_for_an_index_that_is_passed_returns_at_once():
    store, _ = await instant_store()
    await store.propose(KVSet(key="a"))
    answer = await store.wait(KVGet("a"), min_index=1, wait_s=LONG_S)
    assert answer.index == 2


async def test_a_wait_ends_with_the_change_it_waits_for():
    store, _ = await instant_store()
    task = await waiting(store, KVGet("a"), 1)
    await store.propose(KVSet(key="a", value=b"1"))
    answer = await task
    assert (answer.index, answer.value.value) == (2, b"1")
    assert store.metrics()["watches_open"] == 0


async def test_an_unrelated_write_does_not_end_a_wait():
    store, _ = await instant_store()
    await store.propose(KVSet(key="a"))
    key = await waiting(store, KVGet("a"), 2)
    service = await waiting(store, HealthService(service=ServiceName("web")), 1)
    await store.propose(KVSet(key="b"))
    await spin(lambda: store.metrics()["watches_open"] == 2)
    assert not key.done()
    assert not service.done()
    await store.stop()
    assert (await key).index == 2
    assert (await service).index == 1


async def test_a_delete_below_a_prefix_ends_a_wait_for_the_prefix():
    store, _ = await instant_store()
    await store.propose(KVSet(key="a/x"))
    task = await waiting(store, KVList("a/"), 2)
    await store.propose(KVDelete(key="a/x"))
    answer = await task
    assert (answer.index, answer.value) == (3, ())


async def test_a_wait_from_the_future_goes_on_through_older_changes():
    store, _ = await instant_store()
    task = await waiting(store, KVGet("a"), 3)
    for value in (b"1", b"2", b"3"):
        assert not task.done()
        await store.propose(KVSet(key="a", value=value))
        await asyncio.sleep(0)
    assert (await task).index == 4


async def test_a_wait_gives_the_unchanged_answer_when_time_is_up():
    store, _ = await instant_store()
    await store.propose(KVSet(key="a", value=b"1"))
    answer = await store.wait(KVGet("a"), min_index=2, wait_s=0.01)
    assert (answer.index, answer.value.value) == (2, b"1")
    assert store.metrics()["watches_open"] == 0


async def test_a_cancelled_wait_leaves_nothing_behind():
    store, _ = await instant_store()
    task = await waiting(store, KVGet("a"), 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.metrics()["watches_open"] == 0


async def test_one_wait_more_than_the_limit_is_refused():
    store, _ = await instant_store(blocking_queries_max=1)
    task = await waiting(store, KVGet("a"), 1)
    with pytest.raises(QueueFull):
        await store.wait(KVGet("b"), min_index=1, wait_s=LONG_S)
    await store.stop()
    await task


async def test_nobody_waits_for_a_store_that_has_stopped():
    """Whoever asks again and again would be answered at once each time, for ever."""
    store, _ = await instant_store()
    await store.stop()
    with pytest.raises(NoLeader, match="has stopped"):
        await store.wait(KVGet("a"), min_index=1, wait_s=LONG_S)


async def test_a_callback_is_called_once_when_its_query_changes():
    store, _ = await instant_store()
    calls: list[int] = []
    store.watch_once(KVGet("a"), lambda: calls.append(1))
    cancel = store.watch_once(KVGet("a"), lambda: calls.append(2))
    cancel()
    await store.propose(KVSet(key="a", value=b"1"))
    await store.propose(KVSet(key="a", value=b"2"))
    assert calls == [1]


async def test_catching_up_waits_until_the_index_is_applied():
    store, log = await instant_store()
    log.index = 7  # committed by others, not applied here yet
    task = asyncio.get_running_loop().create_task(store.barrier(timeout_s=LONG_S))
    await spin(lambda: store.metrics()["catching_up_open"] == 1)
    log.applied = 6
    log.on_applied()
    await asyncio.sleep(0)
    assert not task.done()
    log.applied = 7
    log.on_applied()
    await task
    assert store.metrics()["catching_up_open"] == 0


async def test_catching_up_gives_up_in_time():
    store, _ = await instant_store()
    with pytest.raises(NoLeader):
        await store.applied(99, timeout_s=0.01)
    assert store.metrics()["catching_up_open"] == 0


async def test_catching_up_ends_with_the_store():
    store, _ = await instant_store()
    task = asyncio.get_running_loop().create_task(store.applied(99, timeout_s=LONG_S))
    await spin(lambda: store.metrics()["catching_up_open"] == 1)
    await store.stop()
    with pytest.raises(NoLeader):
        await task


async def test_leadership_is_learned_from_the_log():
    store, log = await instant_store()
    assert store.is_leader
    assert store.age_s == 0.0
    log.role = "follower"
    log.on_change()
    assert not store.is_leader
    assert store.age_s == 99.0


async def test_an_entry_that_cannot_be_read_stops_the_server():
    store, log = await instant_store()
    with pytest.raises(CorruptState, match="entry 2"):
        await log.propose(b"\xc1", timeout_s=1)
    assert store.state.index == 0


async def leading(config: StoreConfig) -> Store:
    """A started store over the real Raft that leads a cluster of one."""
    led = asyncio.Event()
    stores: list[Store] = []

    def look() -> None:
        if stores and stores[0].is_leader:
            led.set()

    store = Store(config, on_change=look, rng=random.Random(1))
    stores.append(store)
    await store.start()
    if not store.bootstrapped:
        store.bootstrap({config.node_id: "127.0.0.1:1"})
    look()
    async with asyncio.timeout(20):
        await led.wait()
    return store


async def test_a_single_server_writes_waits_and_reads_its_writes():
    store = await leading(StoreConfig(node_id="s1", raft_multiplier=1))
    try:
        start = store.answer(KVGet("a")).index
        task = await waiting(store, KVGet("a"), start)
        outcome = await store.propose(KVSet(key="a", value=b"1"), timeout_s=10)
        assert outcome == Applied(outcome.index, True)
        await store.barrier(timeout_s=10)
        assert (await task) == store.answer(KVGet("a"))
        assert store.answer(KVGet("a")).value.modify_index == outcome.index
    finally:
        await store.stop()


async def test_a_restarted_server_has_what_it_acknowledged(tmp_path: Path):
    config = StoreConfig(
        node_id="s1", data_dir=str(tmp_path), raft_multiplier=1, journal_bytes_max=64 * 1024 * 1024
    )
    store = await leading(config)
    for number in range(20):
        await store.propose(KVSet(key=f"k{number}", value=b"v"), timeout_s=10)
    before = list(store.state.snapshot())
    await store.stop()
    store = await leading(config)
    try:
        await store.barrier(timeout_s=10)
        assert list(store.state.snapshot()) == before
    finally:
        await store.stop()


async def test_a_replaced_state_wakes_who_waits_and_answers_with_a_higher_index():
    store, log = await instant_store()
    await log.propose(wire.encode_command(KVSet(key="a", value=b"1")), timeout_s=1)
    query = KVGet(key="a")
    before = store.answer(query)
    newer = StateMachine()
    newer.apply(2, 1.0, KVSet(key="a", value=b"1"))
    newer.apply(50, 1.0, KVSet(key="a", value=b"2"))
    present = await waiting(store, query, before.index)
    absent = await waiting(store, KVGet(key="other"), 1000, 0.2)
    store._replace_state(newer)
    answer = await asyncio.wait_for(present, 5.0)
    assert (answer.value.value, answer.index) == (b"2", 50)
    assert answer.index > before.index
    assert (await absent).value is None  # woken for nothing: it waits on
    await store.stop()


async def test_a_store_takes_a_snapshot_and_starts_from_it(tmp_path):
    config = StoreConfig(node_id="s1", data_dir=str(tmp_path))
    store = Store(config)
    await store.start()
    store.bootstrap({"s1": "127.0.0.1:1"})
    await until(lambda: store.is_leader)
    for number in range(50):
        await store.propose(KVSet(key=f"k{number}", value=b"v"))
    pointer = await store.snapshot_now()
    await store.propose(KVSet(key="after", value=b"v"))
    expected = list(store.state.snapshot())
    assert store.metrics()["snapshot_index"] == pointer.index
    await store.stop()
    store = Store(config)
    await store.start()
    await until(lambda: store.state.kv.get("after") is not None)
    assert list(store.state.snapshot()) == expected
    await store.stop()


async def test_a_store_in_memory_leaves_nothing_behind():
    store = Store(StoreConfig(node_id="s1"))
    await store.start()
    store.bootstrap({"s1": "127.0.0.1:1"})
    await until(lambda: store.is_leader)
    await store.propose(KVSet(key="k", value=b"v"))
    await store.snapshot_now()
    scratch = Path(store._scratch.name)
    assert sum(1 for _ in scratch.rglob("snap-*")) == 1  # noqa: ASYNC240
    await store.stop()
    assert not scratch.exists()  # noqa: ASYNC240


async def test_who_waits_for_a_leader_is_woken_by_the_next_one():
    store, log = await instant_store()
    waiter = asyncio.get_running_loop().create_task(store.leader_within(LONG_S))
    await asyncio.sleep(0)
    log.on_change()  # the same leader as before
    await asyncio.sleep(0)
    assert not waiter.done()
    log.leader_address = "10.0.0.9:8300"
    log.on_change()
    await spin(waiter.done)
    await store.leader_within(0.001)  # nor longer than asked for
    await store.stop()


async def test_settings_of_snapshots_reach_the_log():
    config = StoreConfig(
        node_id="s1", snapshot_entries=7, snapshot_interval_s=6.0, trailing_entries=5
    )
    store = await leading(config)
    raft = store._log._config
    assert (raft.snapshot_log_entries, raft.snapshot_interval_s, raft.trailing_entries) == (7, 6, 5)
    await store.stop()
