"""How often an agent says where it is, and what it says."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from agent.backend.coordinates import CoordinateCalls, decode_coordinate
from agent.config.schema import CoordinateConfig
from agent.distance import from_json
from agent.errors import NoClusterLeader
from agent.local.coordinates import CoordinateSender, pause_s
from gossip.coordinates import Coordinate

CONFIG = CoordinateConfig()


@given(st.integers(0, 100), st.integers(1, 20_000), st.integers())
def test_the_servers_get_no_more_than_their_rate(sent: int, members: int, seed: int) -> None:
    pause = pause_s(sent, members, CONFIG, random.Random(seed))
    usual = max(15.0, members / 64.0)
    assert 0 < pause <= 2 * usual
    assert pause >= min(usual, 2.0**sent)


class Gossip:
    where: Coordinate | None = Coordinate(vec=(0.25, *[0.0] * 7))

    def coordinate(self, name: str = "") -> Coordinate | None:
        return self.where

    def measured(self) -> tuple[str, ...]:
        return ("n2",) if self.where else ()

    def coordinate_resets(self) -> int:
        return 0


class Leader:
    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.failure: Exception | None = None

    async def on_leader(self, method: str, payload: bytes) -> bytes:
        if self.failure is not None:
            raise self.failure
        self.got.append(payload)
        return b""


def sender(gossip: Gossip, leader: Leader) -> CoordinateSender:
    return CoordinateSender(
        CONFIG,
        CoordinateCalls(leader),
        gossip,
        node="n1",
        members=lambda: 3,
        rng=random.Random(1),
    )


async def test_the_own_coordinate_is_sent_and_explained() -> None:
    gossip, leader = Gossip(), Leader()
    sending = sender(gossip, leader)
    await sending.send()
    (found,) = map(decode_coordinate, leader.got)
    assert (found.node, from_json(found.content)) == ("n1", gossip.where)
    explained = sending.explain()
    assert explained["SentAt"] and explained["MeasuredCount"] == 1  # type: ignore[index, call-overload]
    assert sending.stats().sent == 1


async def test_a_failure_is_counted_and_said() -> None:
    leader = Leader()
    leader.failure = NoClusterLeader()
    sending = sender(Gossip(), leader)
    await sending.send()
    assert sending.stats().failures == 1
    assert sending.explain()["LastFailure"] == str(leader.failure)  # type: ignore[index, call-overload]


async def test_nothing_is_sent_where_coordinates_are_off() -> None:
    gossip, leader = Gossip(), Leader()
    gossip.where = None
    sending = sender(gossip, leader)
    await sending.send()
    assert leader.got == []
    assert sending.explain()["Enabled"] is False  # type: ignore[index, call-overload]
