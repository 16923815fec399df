"""What rides along with a packet: our own broadcasts first, then the user's, within the budget.

Gossip wire contract, section 3.9. Each queue keeps its own order (gossip.broadcasts); who receives
the packet is gossip.swim's choice.
"""

from __future__ import annotations

from collections.abc import Sized

from gossip.broadcasts import BroadcastQueue, retransmit_limit
from gossip.config import GossipConfig
from gossip.wire.frames import COMPOUND_PART_BYTES, COMPOUND_PARTS_MAX


class Piggyback:
    """The queues of one member, in the order in which they are served."""

    __slots__ = ("_retransmit_mult", "_waiting", "queue", "user_queues", "user_transmits_max")

    def __init__(self, config: GossipConfig) -> None:
        self._retransmit_mult = config.retransmit_mult
        self.queue = BroadcastQueue(limit=config.broadcasts_max, overhead_bytes=COMPOUND_PART_BYTES)
        self.user_queues: tuple[BroadcastQueue, ...] = ()
        self.user_transmits_max = 0
        self._waiting: tuple[Sized, ...] = (self.queue.waiting,)

    def serve_also(self, *queues: BroadcastQueue) -> None:
        """Further queues, served after ours in this order, whose messages are user messages."""
        self.user_queues = queues
        self._waiting = (self.queue.waiting, *(queue.waiting for queue in queues))

    def __bool__(self) -> bool:
        """Whether there is anything to say."""
        return any(self._waiting)

    def take(self, budget_bytes: int, *, ring_size: int, counted: bool = True) -> list[bytes]:
        """The next messages within the budget; a counted take is one transmit of each."""
        if not any(self._waiting):
            return []
        limit = retransmit_limit(self._retransmit_mult, ring_size)
        batch = self.queue.take(budget_bytes, transmits_max=limit, counted=counted)
        for queue in self.user_queues:
            used = sum(len(message) + COMPOUND_PART_BYTES for message in batch)
            most = self.user_transmits_max or limit
            taken = queue.take(budget_bytes - used, transmits_max=most, counted=counted)
            batch += [b"\x08" + message for message in taken]
        assert len(batch) < COMPOUND_PARTS_MAX, "the budget's ceiling keeps a compound countable"
        return batch

    def take_finished(self) -> list[str]:
        """The tokens of broadcasts that have used up their transmits since the last call."""
        finished: list[str] = []
        for queue in (self.queue, *self.user_queues):
            finished += queue.finished
            queue.finished.clear()
        return finished
