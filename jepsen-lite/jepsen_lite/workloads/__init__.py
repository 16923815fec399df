"""A workload is what clients do and how the result is judged.

``work`` is the life of one client process: a generator that does one thing a turn and yields
whether it was acknowledged. It ends when the run is over. ``finish`` makes the final reads, when
everything is whole again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from jepsen_lite.checkers import Checker
from jepsen_lite.worker import Worker
from jepsen_lite.workloads import (
    append,
    catalog,
    counter,
    intention,
    lock,
    register,
    seldom,
    set_,
    watch,
)


class Workload(Protocol):
    """One kind of work."""

    @property
    def needs(self) -> frozenset[str]:
        """What a target must offer."""
        ...

    @property
    def checkers(self) -> Mapping[str, Checker]: ...

    def work(self, worker: Worker) -> Iterator[bool]: ...

    def finish(self, worker: Worker) -> None: ...


WORKLOADS: dict[str, Workload] = {
    "register": register.REGISTER,
    "cas": register.CAS_ONLY,
    "modes": register.MODES,
    "seldom": seldom.Seldom(),
    "append": append.Append(),
    "set": set_.Set(),
    "counter": counter.Counter(),
    "lock": lock.Lock(),
    "watch": watch.Watch(),
    "catalog": catalog.Catalog(),
    "intention": intention.Intention(),
}
