"""The state machine as the log's snapshots see it: frozen into chunks, and filled from them.

A new state is filled beside the one in force and takes its place at once when it is complete.
While a large state is built, the garbage collector would look through all of it again and again,
for a second at a time; nothing in it is garbage, so what is there is taken out of its sight.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterator

from raftstore.config import StateLimits
from raftstore.state import StateMachine
from raftstore.state.snapshots import Loading

#: Chunks after which the objects made so far are hidden from the collector.
_CHUNKS_PER_FREEZE = 64


def hide_staged(part: int) -> None:
    """A part of an archive comes: what the ones before it have made is no garbage either."""
    if part % _CHUNKS_PER_FREEZE == 0:
        gc.freeze()


class StateImages:
    """Implements raftstore.raft.transfers.Machine over the store's state."""

    def __init__(
        self,
        limits: StateLimits,
        *,
        current: Callable[[], StateMachine],
        replace: Callable[[StateMachine], None],
    ) -> None:
        self._limits = limits
        self._current = current
        self._replace = replace

    def freeze(self) -> Generator[None, None, Iterator[bytes]]:
        """The state as it is; nothing may be applied before the generator ends."""
        gc.freeze()
        return (yield from self._current().freeze())

    def loader(self) -> StateLoader:
        """An empty state, to be filled."""
        return StateLoader(StateMachine(self._limits), self._replace)


class StateLoader:
    """Fills one state."""

    def __init__(self, state: StateMachine, replace: Callable[[StateMachine], None]) -> None:
        self._state = state
        self._loading = Loading(state)
        self._replace = replace
        self._chunks = 0

    def feed(self, chunk: bytes) -> None:
        """Load one chunk. Raises DecodeError."""
        self._loading.feed_bytes(chunk)
        self._chunks += 1
        if self._chunks % _CHUNKS_PER_FREEZE == 0:
            gc.freeze()

    def finish(self) -> None:
        """All was fed. Raises DecodeError."""
        self._loading.finish()
        gc.freeze()

    def swap(self) -> None:
        """Put the state in force."""
        self._replace(self._state)
