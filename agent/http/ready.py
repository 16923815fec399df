"""Answers of hot reads as ready bytes, kept until the index they were made at moves.

A read asks the state every time; only turning the same answer into the same bytes again is saved.
An answer is the same when query, parameters and index are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

#: Bodies above this size are not kept.
BODY_MAX_BYTES = 256 * 1024


class ReadyAnswers:
    """A bounded map from (question, index) to bytes; the oldest entry makes room."""

    __slots__ = ("_entries", "_total_bytes", "bytes_max", "hits", "misses")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.hits = 0
        self.misses = 0
        self._entries: dict[Hashable, tuple[int, bytes]] = {}
        self._total_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def drop(self) -> None:
        """Keep nothing: the state was replaced by another one."""
        self._entries.clear()
        self._total_bytes = 0

    def get(self, question: Hashable, index: int, make: Callable[[], bytes]) -> bytes:
        """The bytes for a question at an index, made if they are not there."""
        entry = self._entries.get(question)
        if entry is not None:
            if entry[0] == index:
                self.hits += 1
                return entry[1]
            del self._entries[question]
            self._total_bytes -= len(entry[1])
        self.misses += 1
        body = make()
        if len(body) <= BODY_MAX_BYTES:
            self._entries[question] = (index, body)
            self._total_bytes += len(body)
            while self._total_bytes > self.bytes_max:
                oldest = next(iter(self._entries))
                self._total_bytes -= len(self._entries.pop(oldest)[1])
        return body
