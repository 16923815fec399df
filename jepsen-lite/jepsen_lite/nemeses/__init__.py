"""Nemeses break things and put them right again.

``inject`` does one fault and says what it did; ``heal`` undoes every fault of this nemesis. A run
always ends with ``heal``, so that final reads meet a whole cluster. Nemeses compose: ``kill,pause``
does one of the two at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from jepsen_lite.nemeses import clock, disk, members, network, processes
from jepsen_lite.nemeses.nemesis import Nemesis, composed, nothing

NEMESES: dict[str, Nemesis] = {
    "none": nothing(),
    "kill": processes.KILL,
    "kill-leader": processes.KILL_LEADER,
    "kill-all": processes.KILL_ALL,
    "pause": processes.PAUSE,
    "pause-leader": processes.PAUSE_LEADER,
    "rolling": processes.ROLLING,
    "starve": processes.STARVE,
    "halves": network.HALVES,
    "isolate-leader": network.ISOLATE_LEADER,
    "one-way": network.ONE_WAY,
    "single-link": network.SINGLE_LINK,
    "ring": network.RING,
    "bridge": network.BRIDGE,
    "flap": network.FLAP,
    "loss": network.LOSS,
    "delay": network.DELAY,
    "reorder": network.REORDER,
    "slow-follower": network.SLOW_FOLLOWER,
    "clock-jump": clock.JUMP,
    "clock-rate": clock.RATE,
    "sync-slow": disk.SLOW,
    "sync-lag": disk.LAG,
    "sync-hang": disk.HANG,
    "sync-error": disk.ERROR,
    "disk-full": disk.FULL,
    "power-loss": disk.POWER_LOSS,
    "bit-flip": disk.BIT_FLIP,
    "replace": members.REPLACE,
    "transfer": members.TRANSFER,
}


def chosen(names: Sequence[str]) -> Nemesis:
    """One nemesis, or several as one. Raises KeyError for an unknown name."""
    return composed({name: NEMESES[name] for name in names})
