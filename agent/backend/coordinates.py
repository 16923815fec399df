"""A node's coordinate on its way to the leader, which writes many at once (leader/coordinates.py).

Not a command: the leader answers when it has noted the coordinate, and one that is lost in an
election is sent again before long.
"""

from __future__ import annotations

from agent.backend.operations import UPDATE_COORDINATE, AsksLeader
from raftstore.codec import codec_for
from raftstore.definitions import Coordinate

#: A coordinate has eight numbers and two names.
COORDINATE_BYTES_MAX = 4096

_COORDINATE = codec_for(Coordinate)


def decode_coordinate(payload: bytes) -> Coordinate:
    """From the wire. Raises DecodeError."""
    coordinate: Coordinate = _COORDINATE.decode(payload, bytes_max=COORDINATE_BYTES_MAX)
    return coordinate


class CoordinateCalls:
    """Tells the leader, from any agent."""

    __slots__ = ("_backend",)

    def __init__(self, backend: AsksLeader) -> None:
        self._backend = backend

    async def update(self, coordinate: Coordinate) -> None:
        """Have the leader note it; it is in the catalog after the leader's next batch.

        Raises StoreError, ForwardError.
        """
        await self._backend.on_leader(UPDATE_COORDINATE, _COORDINATE.encode(coordinate))
