"""The order of distance, and what is a coordinate."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.distance import (
    CoordinateError,
    distance_s,
    from_json,
    nearest_first,
    places,
    to_json,
)
from gossip.coordinates import PLACE_MAX_S, Coordinate
from raftstore import definitions
from raftstore.records import NodeName

FINITE = st.floats(-PLACE_MAX_S, PLACE_MAX_S)
COORDINATES = st.builds(
    Coordinate,
    vec=st.tuples(*[FINITE] * 8),
    error=FINITE,
    adjustment=FINITE,
    height=FINITE,
)
NAMES = st.sampled_from(["a", "B", "c", "d", "e"])


def at(x: float, **more: float) -> Coordinate:
    return Coordinate(vec=(x, *[0.0] * 7), height=0.0, **more)


@given(COORDINATES)
def test_a_coordinate_comes_back_from_json_as_it_was(coordinate: Coordinate) -> None:
    assert from_json(json.loads(json.dumps(to_json(coordinate)))) == coordinate


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "invalid coordinate"),
        ([], "invalid coordinate"),
        ({}, "incompatible coordinate"),
        ({"Vec": [0.0] * 7}, "incompatible coordinate"),
        ({"Vec": "00000000"}, "incompatible coordinate"),
        ({"Vec": [0.0] * 7 + ["x"]}, "invalid coordinate"),
        ({"Vec": [0.0] * 7 + [True]}, "invalid coordinate"),
        ({"Vec": [0.0] * 7 + [10**400]}, "invalid coordinate"),
        ({"Vec": [0] * 8, "Error": float("nan")}, "invalid coordinate"),
        ({"Vec": [0] * 8, "Height": float("inf")}, "invalid coordinate"),
        ({"Vec": [1e5] * 8}, "invalid coordinate"),
    ],
)
def test_what_is_no_coordinate_is_refused_in_consuls_words(value: Any, words: str) -> None:
    with pytest.raises(CoordinateError, match=f"^{words}$"):
        from_json(value)


@given(st.lists(NAMES, max_size=8), st.dictionaries(NAMES.map(str.lower), COORDINATES), NAMES)
def test_nearer_items_come_first_and_ties_keep_their_order(
    names: list[str], known: dict[str, Coordinate], origin: str
) -> None:
    items = list(enumerate(names))
    found = nearest_first(items, lambda item: item[1], origin, known)
    assert sorted(found) == items
    here = known.get(origin.lower())
    if here is None:
        assert list(found) == items
        return
    own = origin.lower()  # what is there comes first
    assert [name.lower() == own for _, name in found] == sorted(
        (name.lower() == own for name in names), reverse=True
    )
    elsewhere = [item for item in found if item[1].lower() != own]
    for (number, name), (other, next_name) in itertools.pairwise(elsewhere):
        there, beyond = known.get(name.lower()), known.get(next_name.lower())
        if there is None:
            assert beyond is None or distance_s(here, beyond) == float("inf")
            continue
        if beyond is not None:
            near, far = distance_s(here, there), distance_s(here, beyond)
            assert near < far or (near == far and number < other)


def test_a_node_of_several_segments_is_where_it_is_without_one() -> None:
    def record(node: str, segment: str, x: float) -> definitions.Coordinate:
        return definitions.Coordinate(node=NodeName(node), segment=segment, content=to_json(at(x)))

    broken = definitions.Coordinate(node=NodeName("x"), content={"Vec": []})
    found = places([record("N", "", 1.0), record("n", "alpha", 2.0), broken])
    assert found == {"n": at(1.0)}


def test_adjustments_count_unless_the_distance_would_be_negative() -> None:
    assert distance_s(at(0.0), at(0.5, adjustment=0.25)) == 0.75
    assert distance_s(at(0.0), at(0.5, adjustment=-0.75)) == 0.5
