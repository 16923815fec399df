"""A quiet ring: what everybody sends although nothing happens, and what it costs to run it."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

from tests.gossip_lab.ring import Ring


@dataclass(frozen=True, slots=True)
class Quiet:
    """Per member; rates per second of virtual time."""

    size: int
    packets: float
    packet_bytes: float
    exchanges: float
    exchange_nodes: float
    cpu_us: float
    """Processor time per member and second, simulation included, exchanges as well."""
    memory_bytes: float
    """Of the whole process, per member."""


def quiet(seed: int, size: int, seconds: float) -> Quiet:
    """Let a ring run in which nothing happens."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ring = Ring(seed, size)
    began = time.process_time()
    ring.run(seconds)
    cpu_s = time.process_time() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    each = size * seconds
    load = ring.load
    return Quiet(
        size=size,
        packets=load.packets / each,
        packet_bytes=load.packet_bytes / each,
        exchanges=load.exchanges / each,
        exchange_nodes=load.exchange_nodes / each,
        cpu_us=cpu_s / each * 1e6,
        memory_bytes=grown * 1024 / size,
    )
