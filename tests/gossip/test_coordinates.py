"""Vivaldi against recorded steps."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import coordinates
from gossip.coordinates import Coordinate, CoordinateClient
from gossip.errors import DecodeError
from tests.gossip import vectors

VIVALDI = vectors.load()["vivaldi"]


def coordinate(tree: dict[str, Any]) -> Coordinate:
    return Coordinate(
        vec=tuple(float(part) for part in tree["Vec"]),
        error=tree["Error"],
        adjustment=tree["Adjustment"],
        height=tree["Height"],
    )


@pytest.mark.parametrize("row", VIVALDI["distances"])
def test_distances_equal_the_recorded_ones(row: dict[str, Any]) -> None:
    apart = coordinates.distance(coordinate(row["a"]), coordinate(row["b"]))
    assert round(apart * 1e9) == row["distance_ns"]


def test_each_update_equals_the_recorded_one() -> None:
    client = CoordinateClient(random.Random(1), coordinate(VIVALDI["start"]))
    for step in VIVALDI["steps"]:
        assert client.observe(step["node"], coordinate(step["other"]), step["rtt_ns"] / 1e9)
        wanted = coordinate(step["after"])
        assert client.local.vec == pytest.approx(wanted.vec, abs=1e-12)
        assert client.local.error == pytest.approx(wanted.error, abs=1e-12)
        assert client.local.adjustment == pytest.approx(wanted.adjustment, abs=1e-12)
        assert client.local.height == pytest.approx(wanted.height, abs=1e-12)


@pytest.mark.parametrize(
    ("other", "rtt_s"),
    [
        (Coordinate(vec=(0.0,) * 7), 0.1),
        (Coordinate(error=float("nan")), 0.1),
        (Coordinate(height=float("inf")), 0.1),
        (Coordinate(vec=(1e300,) * 8), 0.1),
        (Coordinate(adjustment=-1e308), 0.1),
        (Coordinate(), -0.1),
        (Coordinate(), 10.1),
    ],
)
def test_what_cannot_be_is_not_taken_in(other: Coordinate, rtt_s: float) -> None:
    client = CoordinateClient(random.Random(1))
    assert not client.observe("n", other, rtt_s)
    assert client.local == Coordinate()


number = st.floats(allow_nan=True, allow_infinity=True)


@given(
    st.lists(
        st.tuples(
            st.builds(
                Coordinate,
                vec=st.lists(number, min_size=8, max_size=8).map(tuple),
                error=number,
                adjustment=number,
                height=number,
            ),
            number,
        ),
        max_size=6,
    )
)
def test_whatever_peers_claim_our_own_place_stays_one(
    seen: list[tuple[Coordinate, float]],
) -> None:
    client = CoordinateClient(random.Random(1))
    for index, (other, rtt_s) in enumerate(seen):
        client.observe(f"n{index % 2}", other, rtt_s)
        assert client.local.finite()
        coordinates.encode_payload(client.local)


def test_a_payload_has_its_recorded_size_and_comes_back() -> None:
    payload = coordinates.encode_payload(Coordinate(vec=(0.5,) * 8))
    assert len(payload) == 130
    assert coordinates.decode_payload(payload) == Coordinate(vec=(0.5,) * 8)
    assert coordinates.decode_payload(b"\x02" + payload[1:]) is None


@given(st.binary(max_size=150))
def test_any_payload_is_read_or_refused(data: bytes) -> None:
    for candidate in (data, b"\x01" + data):
        try:
            read = coordinates.decode_payload(candidate)
        except DecodeError:
            continue
        assert read is None or len(read.vec) <= 8


def test_what_is_beyond_all_distances_is_infinitely_far() -> None:
    far = Coordinate(vec=(1e308,) * 8, height=1e308)
    assert coordinates.distance(far, Coordinate()) == math.inf
