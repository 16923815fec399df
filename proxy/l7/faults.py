"""Faults that are made on purpose: delays and answers that no host gave. Pure.

They always end: a setting without an end is not taken (``settings``), and after its end it does
nothing, whoever forgets to remove it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from proxy.http1.head import Request
from proxy.l7.settings import Faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to one request. A ``status`` of 0 lets it go on after the delay."""

    delay_s: float = 0.0
    status: int = 0


NONE = Fault()


def decide(faults: Faults, request: Request, wall: float, rng: random.Random) -> Fault:
    """What happens to a request at this time (Unix)."""
    if wall >= faults.until_at:
        return NONE
    if faults.header:
        value = request.get(faults.header)
        if value is None or (faults.value and value != faults.value):
            return NONE
    delayed = faults.delay_s > 0 and rng.random() * 100 < faults.delay_percent
    aborted = faults.abort_status > 0 and rng.random() * 100 < faults.abort_percent
    return Fault(
        delay_s=faults.delay_s if delayed else 0.0, status=faults.abort_status if aborted else 0
    )
