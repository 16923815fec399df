"""From answer to answer of a watch: what to block on next, what is news, how long to pause. Pure.

Rules are those of Consul's clients: an index that falls begins anew; the same data twice is no
news; the pause after errors grows with the square of their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from agent.watches.plan import Plan

#: Seconds; times the square of the failures in a row, up to the most.
PAUSE_S, PAUSE_MAX_S = 5.0, 180.0
_NOTHING: Final = object()


@dataclass(frozen=True, slots=True)
class News:
    """What a handler is told. One of ``index`` and ``hash`` says as of when."""

    data: Any
    index: int = 0
    hash: str = ""


class Progress:
    """One watch's place in time."""

    __slots__ = ("_event", "_failures", "_hash", "_index", "_last", "_plan")

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._index = 0
        self._hash = ""
        self._last: Any = _NOTHING
        self._event = ""
        self._failures = 0

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The parameters of the next request."""
        plan = self._plan
        query = plan.query
        if self._index:
            query += (("index", str(self._index)),)
        if self._hash:
            query += (("hash", self._hash),)
        if plan.datacenter:
            query += (("dc", plan.datacenter),)
        if plan.stale:
            query += (("stale", ""),)
        return query

    def answered(self, answer: Any, *, index: int = 0) -> News | None:
        """An answer's JSON, None for one of 404, and its index; gives what is new."""
        self._failures = 0
        plan = self._plan
        if plan.by_hash:
            place = str((answer or {}).get("ContentHash", ""))
            moved, self._hash = place != self._hash, place
        else:
            moved, previous = index != self._index, self._index
            # At 1 at least, so that what has no index yet is not asked for in a loop. The index of
            # a list of events tells lists apart and is in no order.
            rises = index >= previous or plan.kind == "event"
            self._index = max(1, index) if rises else 0
        if not moved and self._last is not _NOTHING:
            return None
        data = answer[0] if plan.single and isinstance(answer, list) and answer else answer
        if plan.kind == "event" and isinstance(data, list):
            data = self._unseen(data)
        data = plan.shape(data)
        if self._last is not _NOTHING and data == self._last:
            return None
        self._last = data
        return News(data, index=0 if plan.by_hash else index, hash=self._hash)

    def failed(self) -> float:
        """A request failed; gives the seconds to pause."""
        self._failures += 1
        return min(PAUSE_S * self._failures**2, PAUSE_MAX_S)

    def _unseen(self, events: list[Any]) -> list[Any]:
        """Events behind the last one that was told; all, when it is not remembered any more."""
        ids = [str(event.get("ID", "")) for event in events]
        start = ids.index(self._event) + 1 if self._event in ids else 0
        if ids:
            self._event = ids[-1]
        return events[start:]
