"""A workload is what clients do and how the result is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jepsen_lite.checkers import Checker
from jepsen_lite.workloads import cas, kv


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """``shares`` are the weights of the kinds of operations, ``keys`` how many keys they share."""

    shares: Mapping[str, int]
    keys: int
    checkers: Mapping[str, Checker]


WORKLOADS: dict[str, Workload] = {
    "kv": Workload(shares=kv.SHARES, keys=kv.KEYS, checkers=kv.CHECKERS),
    "cas": Workload(shares=cas.SHARES, keys=cas.KEYS, checkers=cas.CHECKERS),
}
