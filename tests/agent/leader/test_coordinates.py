"""The leader's batches of coordinates."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backend.coordinates import CoordinateCalls, decode_coordinate
from agent.config.schema import CoordinateConfig
from agent.distance import to_json
from agent.leader.coordinates import CoordinateKeeper, Pending
from gossip.coordinates import Coordinate as Place
from raftstore.commands import Applied
from raftstore.definition_commands import UpdateCoordinates
from raftstore.definitions import Coordinate
from raftstore.errors import DecodeError, NoLeader, QueueFull
from raftstore.queries import Answer
from raftstore.records import NodeName


def update(node: str, x: float = 0.0, segment: str = "") -> Coordinate:
    place = Place(vec=(x, *[0.0] * 7))
    return Coordinate(node=NodeName(node), segment=segment, content=to_json(place))


@given(
    st.lists(st.tuples(st.sampled_from("aAbcdef"), st.integers(0, 3)), max_size=20),
    st.integers(1, 3),
    st.integers(1, 2),
)
def test_the_newest_of_each_node_is_written_in_bounded_batches(
    sent: list[tuple[str, int]], size: int, batches: int
) -> None:
    pending = Pending(batch_size=size, batches_max=batches)
    for node, x in sent:
        pending.note(update(node, float(x)))
    held = len(pending)
    taken = pending.take()
    assert held == sum(map(len, taken)) <= size * batches
    assert len(taken) <= batches
    assert all(1 <= len(batch) <= size for batch in taken)
    newest = {node.lower(): x for node, x in sent}
    first = list(dict.fromkeys(node.lower() for node, _ in sent))[: size * batches]
    found = [each for batch in taken for each in batch]
    assert [each.node.lower() for each in found] == first
    assert all(each.content["Vec"][0] == newest[each.node.lower()] for each in found)  # type: ignore[call-overload, index]
    assert pending.discarded == len([n for n, _ in sent if n.lower() not in first])
    assert len(pending) == 0


class Cluster:
    """A store that knows what was written, and the way to the keeper."""

    def __init__(self) -> None:
        self.written: list[UpdateCoordinates] = []
        self.known: tuple[Coordinate, ...] = ()
        self.failure: Exception | None = None
        self.keeper = CoordinateKeeper(self, self, CoordinateConfig(update_batch_size=2))
        self.keeper._leads = True

    async def change(self, command: Any) -> Any:
        if self.failure is not None:
            raise self.failure
        self.written.append(command)
        return Applied(1, len(command.updates))

    def answer(self, query: Any) -> Answer[Any]:
        return Answer(1, tuple(each for each in self.known if each.node == query.node))

    async def on_leader(self, method: str, payload: bytes) -> bytes:
        return await self.keeper.methods[method](payload, 1.0)


async def test_what_agents_send_is_written_once_and_what_is_written_already_is_not() -> None:
    cluster = Cluster()
    calls = CoordinateCalls(cluster)
    cluster.known = (update("a"),)
    for sent in (update("a"), update("b"), update("b", 1.0), update("c"), update("a", segment="x")):
        await calls.update(sent)
    await cluster.keeper.write()
    await cluster.keeper.write()
    assert [batch.updates for batch in cluster.written] == [
        (update("b", 1.0), update("c")),
        (update("a", segment="x"),),
    ]
    stats = cluster.keeper.stats()
    assert (stats.received, stats.unchanged, stats.written, stats.batches) == (5, 1, 3, 2)


async def test_a_batch_that_fails_is_counted_and_does_not_end_the_duty() -> None:
    cluster = Cluster()
    cluster.failure = QueueFull("full")
    await CoordinateCalls(cluster).update(update("a"))
    await cluster.keeper.write()
    cluster.failure = None
    await CoordinateCalls(cluster).update(update("b"))
    await cluster.keeper.write()
    assert [batch.updates for batch in cluster.written] == [(update("b"),)]
    assert cluster.keeper.stats().batch_failures == 1


async def test_nothing_is_taken_without_leading_or_without_a_coordinate() -> None:
    cluster = Cluster()
    with pytest.raises(DecodeError, match="incompatible"):
        await CoordinateCalls(cluster).update(Coordinate(node=NodeName("a"), content={}))
    cluster.keeper._leads = False
    with pytest.raises(NoLeader):
        await CoordinateCalls(cluster).update(update("a"))
    assert cluster.keeper.stats().received == 0


@given(st.binary(max_size=80))
def test_whatever_comes_is_a_coordinate_or_refused(data: bytes) -> None:
    try:
        assert isinstance(decode_coordinate(data), Coordinate)
    except DecodeError:
        pass
