"""Who finds that it was held for dead says again that it lives, so that nobody misses it. Pure.

Gossip leaves somebody out now and then: with c copies a member each is missed with probability
e^-c (8 copies and 32 members: one ring in a hundred). Of other news the next full-state exchange,
half a minute later, tells them. Here that would mean a name that some hold for dead and others for
alive; so its bearer says it anew, each time under a new incarnation, which all others pass on. That
goes for a newcomer that takes a dead member's name, for one that comes back to its old address, and
for one that was called dead by mistake.
"""

from __future__ import annotations

import math

from gossip import admission
from gossip.config import GossipConfig
from gossip.wire.messages import NodeState, State

#: Seconds: after the first claim (a holder that came back has its name at once), and after the time
#: from which another agent may have it. The three are independent, so e^-c becomes e^-3c.
AGAIN_S = 1.0
THEN_S = (0.25, 1.0)
#: Seconds until the same may begin anew: some peers accept nobody until they forget the dead.
PAUSE_S = 60.0


class Insistence:
    """When we say again that we live; ``deadline`` is infinite while there is no need to."""

    __slots__ = ("_config", "_due", "_quiet_until", "times")

    def __init__(self, config: GossipConfig) -> None:
        self._config = config
        self._due: list[float] = []
        self._quiet_until = -math.inf
        #: How often we have.
        self.times = 0

    @property
    def deadline(self) -> float:
        """When it is time next."""
        return self._due[0] if self._due else math.inf

    def called_dead(self, now: float) -> None:
        """We, at this address, are said to be dead: whoever heard that shall hear us as well."""
        self._begin(0.0, now)

    def buried(self, former: NodeState, local: NodeState, now: float) -> None:
        """A peer knows our name as that of ``former``, a member that has ended."""
        elsewhere = (former.address, former.port) != (local.address, local.port)
        if elsewhere and former.state is State.DEAD:
            wait_s = admission.reclaim_wait_s(local.meta, self._config)
            if wait_s is not None:
                self._begin(wait_s, now)
        else:
            self._begin(0.0, now)  # nobody has to wait for it

    def _begin(self, wait_s: float, now: float) -> None:
        """The name may be ours after ``wait_s``."""
        if now < self._quiet_until:
            return
        self._quiet_until = now + wait_s + PAUSE_S
        self._due = sorted({now + after for after in (AGAIN_S, *(wait_s + t for t in THEN_S))})

    def due(self, now: float) -> bool:
        """Whether it is time; what was missed meanwhile is said once."""
        if now < self.deadline:
            return False
        self._due = [at for at in self._due if at > now]
        self.times += 1
        return True
