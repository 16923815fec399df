"""How far nodes are from each other by their network coordinates, and lists in that order.

Pure. A coordinate is stored, sent and shown as JSON (``Vec``, ``Error``, ``Adjustment``,
``Height``; seconds); what a distance is, gossip.coordinates knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from gossip.coordinates import DIMENSIONS, Coordinate, distance
from raftstore import definitions
from raftstore.records import Json

T = TypeVar("T")

#: Coordinates by node name in lower case.
Places = Mapping[str, Coordinate]


class CoordinateError(ValueError):
    """What stands there is no coordinate of our space."""


def to_json(coordinate: Coordinate) -> dict[str, Json]:
    """As clients see it and the catalog keeps it."""
    return {
        "Vec": list(coordinate.vec),
        "Error": coordinate.error,
        "Adjustment": coordinate.adjustment,
        "Height": coordinate.height,
    }


def from_json(value: Json) -> Coordinate:
    """A coordinate of our space. Raises CoordinateError in Consul's words."""
    if not isinstance(value, dict):
        raise CoordinateError("invalid coordinate")
    vec = value.get("Vec") or ()
    if not isinstance(vec, list | tuple) or len(vec) != DIMENSIONS:
        raise CoordinateError("incompatible coordinate")
    coordinate = Coordinate(
        vec=tuple(_number(part) for part in vec),
        error=_number(value.get("Error")),
        adjustment=_number(value.get("Adjustment")),
        height=_number(value.get("Height")),
    )
    if not coordinate.finite():
        raise CoordinateError("invalid coordinate")
    return coordinate


def _number(value: Any) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CoordinateError("invalid coordinate")
    try:
        return float(value)
    except OverflowError:
        raise CoordinateError("invalid coordinate") from None


def distance_s(a: Coordinate, b: Coordinate) -> float:
    """The estimated round trip in seconds."""
    return distance(a, b)


def places(records: Iterable[definitions.Coordinate]) -> dict[str, Coordinate]:
    """Where nodes are, by their names in lower case; records that are no coordinates are skipped.

    A node of several segments is where its record without a segment says, if there is one.
    """
    found: dict[str, Coordinate] = {}
    for record in sorted(records, key=lambda each: each.segment, reverse=True):
        try:
            found[record.node.lower()] = from_json(record.content)
        except CoordinateError:
            continue
    return found


def nearest_first(
    items: Sequence[T], node_of: Callable[[T], str], origin: str, known: Places
) -> Sequence[T]:
    """The items by the distance of their nodes from ``origin``; as they were where that is unknown.

    Those of nodes without a coordinate stand at the end. What is equally far keeps its order. What
    is on the origin itself comes first: a node's distance to itself by coordinates counts its
    height twice, and can be more than that to a neighbour.
    """
    here = known.get(origin.lower())
    if here is None:
        return items
    far: dict[str, float] = {origin.lower(): -math.inf}

    def distance_of(item: T) -> float:
        name = node_of(item).lower()
        if name not in far:
            there = known.get(name)
            far[name] = math.inf if there is None else distance_s(here, there)
        return far[name]

    return sorted(items, key=distance_of)
