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


#: Chunks after which the collector looks at what is new, where writing them lets go of old rows.
_CHUNKS_PER_PASS = 8
_HELD_BY_THE_STATE = b"\x92\xa2kv"


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
        return watched((yield from self._current().freeze()))

    def loader(self) -> StateLoader:
        """An empty state, to be filled."""
        return StateLoader(StateMachine(self._limits), self._replace)


def watched(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same chunks, with a pass of the collector now and then.

    The collector counts what is made less what is freed. Rows that only the snapshot still holds
    (the journal has forgotten most of its changes meanwhile) are freed by the thousand, so it would
    count nothing for seconds, and then look at a hundred thousand objects at once.
    """
    for number, chunk in enumerate(chunks, start=1):
        yield chunk
        if number % _CHUNKS_PER_PASS == 0 and not chunk.startswith(_HELD_BY_THE_STATE):
            gc.collect()


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
