"""The leader's side of network coordinates: takes what agents send, writes it in bounded batches.

What is noted between two writes is bounded; the newest of a node counts. What a batch leaves out is
counted and comes again with the agents' next round (http-api contract 15).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from agent.backend.coordinates import decode_coordinate
from agent.backend.operations import UPDATE_COORDINATE
from agent.config.schema import CoordinateConfig
from agent.distance import CoordinateError, from_json
from raftstore.commands import Command
from raftstore.definition_commands import UpdateCoordinates
from raftstore.definition_queries import ListCoordinates
from raftstore.definitions import Coordinate
from raftstore.errors import DecodeError, NoLeader, StoreError
from raftstore.queries import Answer, Query

log = logging.getLogger("lictor.agent.coordinates")

T = TypeVar("T")


class Pending:
    """Coordinates that are not written yet, the newest of each node and segment. Pure."""

    __slots__ = ("_batch_size", "_found", "_max", "discarded")

    def __init__(self, *, batch_size: int, batches_max: int) -> None:
        self._batch_size = batch_size
        self._max = batch_size * batches_max
        self._found: dict[tuple[str, str], Coordinate] = {}
        self.discarded = 0

    def __len__(self) -> int:
        return len(self._found)

    def note(self, coordinate: Coordinate) -> None:
        """Take a coordinate; one of another node is discarded where there are too many."""
        key = (coordinate.segment, coordinate.node.lower())
        if key not in self._found and len(self._found) >= self._max:
            self.discarded += 1
            return
        self._found[key] = coordinate

    def take(self) -> list[tuple[Coordinate, ...]]:
        """All of them in batches; nothing is pending afterwards."""
        found, self._found = list(self._found.values()), {}
        size = self._batch_size
        return [tuple(found[at : at + size]) for at in range(0, len(found), size)]


@dataclass(slots=True)
class CoordinateStats:
    """Counters since start. ``discarded`` are those that no batch had room for."""

    received: int = 0
    unchanged: int = 0
    written: int = 0
    batches: int = 0
    batch_failures: int = 0
    discarded: int = 0
    updates_waiting: int = 0


class Writes(Protocol):
    """The part of a backend that this needs."""

    async def change(self, command: Command) -> Any: ...


class Asks(Protocol):
    """The part of a store that this needs."""

    def answer(self, query: Query[T]) -> Answer[T]: ...


class CoordinateKeeper:
    """Notes and writes coordinates. ``run`` is one term of the leader."""

    def __init__(self, backend: Writes, store: Asks, config: CoordinateConfig) -> None:
        self._backend = backend
        self._store = store
        self._period_s = config.update_period_s
        self._pending = Pending(
            batch_size=config.update_batch_size, batches_max=config.update_max_batches
        )
        self._leads = False
        self._stats = CoordinateStats()

    @property
    def methods(self) -> dict[str, Callable[[bytes, float], Awaitable[bytes]]]:
        """What other agents may ask of the leader, by method."""
        return {UPDATE_COORDINATE: self._asked}

    def stats(self) -> CoordinateStats:
        """Counters up to now."""
        self._stats.discarded = self._pending.discarded
        self._stats.updates_waiting = len(self._pending)
        return self._stats

    async def _asked(self, payload: bytes, timeout_s: float) -> bytes:
        coordinate = decode_coordinate(payload)
        try:
            from_json(coordinate.content)
        except CoordinateError as error:
            raise DecodeError(str(error)) from None
        if not self._leads:
            raise NoLeader("this server does not lead")
        self._stats.received += 1
        known = self._store.answer(ListCoordinates(coordinate.node)).value
        if any(
            each.segment == coordinate.segment and each.content == coordinate.content
            for each in known
        ):
            self._stats.unchanged += 1
        else:
            self._pending.note(coordinate)
        return b""

    async def run(self) -> None:
        """Until the term is over (by cancellation)."""
        self._leads = True
        try:
            while True:
                await asyncio.sleep(self._period_s)
                await self.write()
        finally:
            self._leads = False
            self._pending.take()

    async def write(self) -> None:
        """Write what is pending. What fails is not kept: agents send it again."""
        for batch in self._pending.take():
            try:
                await self._backend.change(UpdateCoordinates(batch))
            except StoreError as error:
                self._stats.batch_failures += 1
                log.warning("coordinates not written count=%d error=%s", len(batch), error)
                continue
            self._stats.batches += 1
            self._stats.written += len(batch)
