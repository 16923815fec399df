"""What the payloads of the log mean: each is read once on a server, not twice.

Who proposes a change knows what it is, and whoever passes on another agent's has read it to see
that it can be read. That is kept until the entry is applied, under the bytes themselves: equal
bytes mean the same, whatever entry of whatever leader they turn up in. Anything else is read.
"""

from __future__ import annotations

from raftstore import wire
from raftstore.errors import CorruptState, DecodeError
from raftstore.wire import Envelope


class Meanings:
    """Of the proposals of one server that are on their way. Who proposes forgets what failed."""

    __slots__ = ("_known", "forget")

    def __init__(self) -> None:
        self._known: dict[bytes, Envelope] = {}
        self.forget = self._known.pop
        """``forget(payload, None)``: it will not be applied, or by another leader."""

    def __len__(self) -> int:
        return len(self._known)

    def expect(self, payload: bytes, means: Envelope) -> None:
        """A payload is on its way into the log; ``means`` is what reading it gives."""
        self._known[payload] = means

    def take(self, index: int, payload: bytes) -> Envelope:
        """What the entry at ``index`` means. Raises CorruptState."""
        known = self._known.pop(payload, None)
        if known is not None:
            return known
        try:
            return wire.decode_command(payload)
        except DecodeError as error:
            # It was checked before it was proposed: written by a newer version, or damaged.
            raise CorruptState(
                f"entry {index} of the log cannot be read here ({error}); "
                "run the version of lictor that the other servers run"
            ) from error
