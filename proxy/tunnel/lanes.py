"""Which of the connections to a peer carries a new stream, and whether there should be another.

Pure. One connection is best while there are few streams: what many write in one turn is encrypted
at once. More streams get two and then four, so that the loss of a packet stops fewer of them. A
stream that has moved much keeps its connection, and new streams go elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.tunnel.limits import TunnelLimits


@dataclass(frozen=True, slots=True)
class Lane:
    """A connection: its streams, whether it takes another, whether it carries a bulk stream."""

    streams: int
    room: bool = True
    bulk: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The place of the connection to use (None: wait for a new one), and whether to dial one."""

    lane: int | None
    dial: bool


def suffices(streams: int, room: bool, bulk: bool, limits: TunnelLimits) -> bool:
    """Whether the only connection to a peer carries the next stream and no other is to be dialled:
    what `plan` says of nearly every stream, at less cost."""
    few = streams + 1 < min(limits.second_lane_streams, limits.all_lanes_streams)
    return room and few and not bulk


def plan(lanes: Sequence[Lane], dialling: int, limits: TunnelLimits) -> Plan:
    """Where the next stream goes."""
    usable = [place for place, lane in enumerate(lanes) if lane.room]
    light = [place for place in usable if not lanes[place].bulk]
    streams = 1 + sum(lane.streams for lane in lanes)
    wanted = 1
    if streams >= limits.all_lanes_streams:
        wanted = limits.lanes
    elif streams >= limits.second_lane_streams:
        wanted = min(2, limits.lanes)
    dial = len(light) + dialling < wanted and len(lanes) + dialling < limits.connections_max
    best = min(light or usable, key=lambda place: lanes[place].streams, default=None)
    return Plan(best, dial)
