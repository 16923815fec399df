"""Several queues in one packet: their order, the shared budget, what is reported as finished."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossip.broadcasts import BroadcastQueue
from gossip.config import GossipConfig
from gossip.piggyback import Piggyback


def piggyback() -> tuple[Piggyback, BroadcastQueue, BroadcastQueue]:
    riding = Piggyback(GossipConfig.lan("me"))
    intents, events = (BroadcastQueue(limit=99, overhead_bytes=3) for _ in range(2))
    riding.serve_also(intents, events)
    return riding, intents, events


def test_our_own_broadcasts_go_first_and_user_messages_get_their_type() -> None:
    riding, intents, events = piggyback()
    assert not riding
    events.add(b"event")
    intents.add(b"intent")
    riding.queue.add(b"\x04alive", subject="n")
    assert riding
    assert riding.take(1000, ring_size=3) == [b"\x04alive", b"\x08intent", b"\x08event"]


def test_a_broadcast_is_finished_after_its_transmits_in_whatever_queue() -> None:
    riding, intents, _ = piggyback()
    riding.queue.add(b"dead", subject="n", token="own")
    intents.add(b"leave", token="intent")
    for _ in range(4):
        assert riding.take_finished() == []
        assert len(riding.take(1000, ring_size=5)) == 2
    assert riding.take_finished() == ["own", "intent"]
    assert not riding
    assert riding.take(1000, ring_size=5) == []


@given(
    st.lists(st.tuples(st.integers(0, 2), st.binary(min_size=1, max_size=60)), max_size=30),
    st.integers(0, 400),
)
def test_the_budget_holds_over_all_queues(adds: list[tuple[int, bytes]], budget: int) -> None:
    riding, *user = piggyback()
    for index, message in adds:
        (riding.queue, *user)[index].add(message)
    batch = riding.take(budget, ring_size=3)
    assert sum(len(message) + 2 for message in batch) <= budget
