"""The graceful leave, step by step: the intent first, then SWIM's part, then time to spread.

Gossip wire contract, sections 3.13 and 5.2: "left" needs both facts, and the intent must have been
heard before the end. A wait that runs out goes on like a success. What is said at each step is
gossip.serf's.
"""

from __future__ import annotations

import enum
import math

from gossip.config import GossipConfig

INTENT_TOKEN = "leave-intent"  # noqa: S105  (the name of a broadcast)
DEAD_TOKEN = "leave-dead"  # noqa: S105


class Step(enum.Enum):
    """How far a graceful leave has come."""

    STAYING = enum.auto()
    INTENT = enum.auto()
    """The intent is being spread."""
    DEAD = enum.auto()
    """SWIM's part is being spread."""
    PROPAGATE = enum.auto()
    """Still answering, so that others pass it on."""
    DONE = enum.auto()


class Departure:
    """Where we are in leaving, and when the next step is due."""

    __slots__ = ("_config", "deadline", "step")

    def __init__(self, config: GossipConfig) -> None:
        self._config = config
        self.step = Step.STAYING
        self.deadline = math.inf

    @property
    def begun(self) -> bool:
        return self.step is not Step.STAYING

    def begin(self, now: float, *, heard: bool) -> None:
        """The intent is being spread, if ``heard`` by anybody."""
        assert not self.begun
        self.step = Step.INTENT
        self.deadline = now + (self._config.broadcast_timeout_s if heard else 0.0)

    def spread(self, token: str, now: float) -> None:
        """A broadcast has used up its transmits; if we wait for it, the next step is due."""
        awaited = {Step.INTENT: INTENT_TOKEN, Step.DEAD: DEAD_TOKEN}
        if awaited.get(self.step) == token:
            self.deadline = now

    def advance(self, now: float, *, heard: bool) -> Step | None:
        """The step that begins now, None while the running one is not over."""
        if now < self.deadline:
            return None
        if self.step is Step.INTENT:
            self.step = Step.DEAD
            self.deadline = now + (self._config.broadcast_timeout_s if heard else 0.0)
        elif self.step is Step.DEAD and heard:
            self.step = Step.PROPAGATE
            self.deadline = now + self._config.leave_propagate_s
        else:
            self.step = Step.DONE
            self.deadline = math.inf
        return self.step
