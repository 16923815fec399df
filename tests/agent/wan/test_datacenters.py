"""Datacenters by their distance, and the servers of each."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from agent.wan.datacenters import addresses, by_datacenter, median_s, nearest_first
from gossip import Member, MemberStatus
from gossip.coordinates import Coordinate
from tests.agent.wan.test_members import member


def at(seconds: float) -> Coordinate:
    return Coordinate(vec=(seconds, *(0.0,) * 7), height=0.0)


def servers(datacenter: str, *names: str) -> list[Member]:
    return [member(f"{name}.{datacenter}", dc=datacenter) for name in names]


def test_the_nearest_first_by_the_median_and_ours_before_all() -> None:
    places = {
        "a.far": at(0.3), "b.far": at(0.3), "c.far": at(0.001),
        "a.near": at(0.02), "b.near": at(0.9), "c.near": at(0.01),
        "a.home": at(9.0),
    }  # fmt: skip
    members = [
        *servers("far", "a", "b", "c"),
        *servers("near", "a", "b", "c"),
        *servers("unseen", "a"),
        *servers("hidden", "a"),
        *servers("home", "a"),
    ]
    found = nearest_first(members, "home", at(0.0), places.get)
    assert found == ["home", "near", "far", "hidden", "unseen"]
    assert nearest_first([], "home", None, places.get) == ["home"]
    assert math.isclose(median_s(servers("near", "a", "b", "c"), at(0.0), places.get), 0.02)
    assert median_s(servers("unseen", "a"), at(0.0), places.get) == math.inf


def test_who_failed_makes_a_datacenter_and_who_left_does_not() -> None:
    members = [
        member("a.east", status=MemberStatus.FAILED),
        member("b.west", dc="west", status=MemberStatus.LEFT),
        member("c.north", dc="north", role="node"),
    ]
    assert list(by_datacenter(members)) == ["east"]
    assert addresses(members, "east") == []
    (server,) = addresses([member("s.east", "10.1.1.1", id="x")], "east")
    assert (server.node_id, server.host, server.port) == ("x", "10.1.1.1", 8300)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.floats(0, 1))),
    st.booleans(),
)
def test_each_datacenter_stands_once(rows: list[tuple[str, str, float]], placed: bool) -> None:
    members = {f"{node}.{dc}": member(f"{node}.{dc}", dc=dc) for node, dc, _ in rows}
    places = {f"{node}.{dc}": at(seconds) for node, dc, seconds in rows if placed}
    found = nearest_first(members.values(), "x", at(0.0), places.get)
    assert sorted(found) == sorted({"x", *(dc for _, dc, _ in rows)})
    assert found[0] == "x"
