"""Vivaldi network coordinates: estimate round trips between members that never met.

Gossip wire contract, section 8: eight dimensions, height, adjustment window, gravity, all in
seconds. Fed with round trips by gossip.serf; carried in ack payloads.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass

from gossip.errors import DecodeError
from gossip.wire import fields
from gossip.wire.fields import pack

PAYLOAD_VERSION = 1
DIMENSIONS = 8
ERROR_MAX = 1.5
CE = 0.25
CC = 0.25
ADJUSTMENT_WINDOW = 20
HEIGHT_MIN = 1e-5
FILTER_SIZE = 3
GRAVITY_RHO = 150.0
ZERO = 1e-6
RTT_MAX_S = 10.0
# No round trip within RTT_MAX_S moves a coordinate this far; a peer that claims more would throw us
# out of the network's space, or make our arithmetic overflow.
PLACE_MAX_S = 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinate:
    """A place in the network's space; seconds throughout."""

    vec: tuple[float, ...] = (0.0,) * DIMENSIONS
    error: float = ERROR_MAX
    adjustment: float = 0.0
    height: float = HEIGHT_MIN

    def finite(self) -> bool:
        """Whether it is a place at all: neither NaN nor beyond any network."""
        values = (*self.vec, self.error, self.adjustment, self.height)
        return all(abs(value) <= PLACE_MAX_S for value in values)


def raw_distance(a: Coordinate, b: Coordinate) -> float:
    """Distance without the adjustments, seconds."""
    return math.dist(a.vec, b.vec) + a.height + b.height


def distance(a: Coordinate, b: Coordinate) -> float:
    """Estimated round trip in seconds, cut to whole nanoseconds; infinite beyond all floats."""
    plain = raw_distance(a, b)
    adjusted = plain + a.adjustment + b.adjustment
    nanoseconds = (adjusted if adjusted > 0.0 else plain) * 1e9
    return int(nanoseconds) / 1e9 if math.isfinite(nanoseconds) else math.inf


class CoordinateClient:
    """Our own coordinate, and the last one heard of every member we measured."""

    __slots__ = ("_adjustments", "_origin", "_rng", "_samples", "known", "local", "resets")

    def __init__(self, rng: random.Random, start: Coordinate | None = None) -> None:
        self._rng = rng
        self._origin = Coordinate()
        self.local = start or self._origin
        self.known: dict[str, Coordinate] = {}
        self.resets = 0
        self._adjustments: deque[float] = deque([0.0] * ADJUSTMENT_WINDOW, maxlen=ADJUSTMENT_WINDOW)
        self._samples: dict[str, tuple[float, ...]] = {}  # the last few of each

    def observe(self, name: str, other: Coordinate, rtt_s: float) -> bool:
        """Take in one measured round trip to ``name``; False when it cannot be used."""
        if len(other.vec) != DIMENSIONS or not other.finite() or not 0 <= rtt_s <= RTT_MAX_S:
            return False
        self.known[name] = other
        samples = (*self._samples.get(name, ()), rtt_s)[-FILTER_SIZE:]
        self._samples[name] = samples
        rtt_s = sorted(samples)[len(samples) // 2]
        self._vivaldi(other, rtt_s)
        self._adjust(other, rtt_s)
        self._gravity()
        if not self.local.finite():
            self.local = self._origin
            self.resets += 1
        return True

    def forget(self, name: str) -> None:
        """The member is gone."""
        self.known.pop(name, None)
        self._samples.pop(name, None)

    def _vivaldi(self, other: Coordinate, rtt_s: float) -> None:
        here = self.local
        apart = distance(here, other)
        rtt_s = max(rtt_s, ZERO)
        wrongness = abs(apart - rtt_s) / rtt_s
        weight = here.error / max(here.error + other.error, ZERO)
        error = min(CE * weight * wrongness + here.error * (1.0 - CE * weight), ERROR_MAX)
        moved = self._force(here, CC * weight * (rtt_s - apart), other)
        self.local = Coordinate(
            vec=moved.vec, error=error, adjustment=here.adjustment, height=moved.height
        )

    def _adjust(self, other: Coordinate, rtt_s: float) -> None:
        here = self.local
        self._adjustments.append(rtt_s - raw_distance(here, other))
        adjustment = sum(self._adjustments) / (2.0 * ADJUSTMENT_WINDOW)
        self.local = Coordinate(
            vec=here.vec, error=here.error, adjustment=adjustment, height=here.height
        )

    def _gravity(self) -> None:
        pull = distance(self._origin, self.local) / GRAVITY_RHO
        self.local = self._force(self.local, -(pull * pull), self._origin)

    def _force(self, here: Coordinate, force: float, other: Coordinate) -> Coordinate:
        """Push away from ``other`` by ``force`` (pull towards it when negative)."""
        unit, magnitude = self._unit(here.vec, other.vec)
        vec = tuple(h + force * u for h, u in zip(here.vec, unit, strict=True))
        height = here.height
        if magnitude > ZERO:
            height = max(HEIGHT_MIN, height + (height + other.height) * force / magnitude)
        return Coordinate(vec=vec, error=here.error, adjustment=here.adjustment, height=height)

    def _unit(
        self, here: tuple[float, ...], other: tuple[float, ...]
    ) -> tuple[tuple[float, ...], float]:
        away = tuple(h - o for h, o in zip(here, other, strict=True))
        magnitude = math.hypot(*away)
        if magnitude > ZERO:
            return tuple(part / magnitude for part in away), magnitude
        away = tuple(self._rng.random() - 0.5 for _ in here)
        magnitude = math.hypot(*away)
        if magnitude > ZERO:
            return tuple(part / magnitude for part in away), 0.0
        return (1.0, *((0.0,) * (len(here) - 1))), 0.0


def encode_payload(coordinate: Coordinate) -> bytes:
    """The ack payload: a version byte, then the coordinate."""
    return bytes((PAYLOAD_VERSION,)) + pack(
        {
            "Adjustment": coordinate.adjustment,
            "Error": coordinate.error,
            "Height": coordinate.height,
            "Vec": coordinate.vec,
        }
    )


def decode_payload(payload: bytes) -> Coordinate | None:
    """The coordinate of an ack, None for a version we do not know. Raises DecodeError."""
    if not payload or payload[0] != PAYLOAD_VERSION:
        return None
    body = fields.unpack_map(payload[1:])
    vec = fields.sequence(body, b"Vec") or []
    if len(vec) > DIMENSIONS or not all(type(part) in (float, int) for part in vec):
        raise DecodeError("bad coordinate vector")
    return Coordinate(
        vec=tuple(float(part) for part in vec),
        error=fields.real(body, b"Error"),
        adjustment=fields.real(body, b"Adjustment"),
        height=fields.real(body, b"Height"),
    )
