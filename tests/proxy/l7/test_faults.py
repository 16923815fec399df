"""Faults come in the share that is asked for, to whom they are meant, and end."""

import random

from proxy.http1.head import Request
from proxy.l7 import faults
from proxy.l7.settings import Faults


def request(**headers: str) -> Request:
    return Request("GET", "/", 1, tuple((k.replace("_", "-"), v) for k, v in headers.items()))


def test_shares_hold() -> None:
    wanted = Faults(delay_s=0.1, delay_percent=20, abort_status=503, abort_percent=5, until_at=10.0)
    rng = random.Random(4)
    made = [faults.decide(wanted, request(), 1.0, rng) for _ in range(20_000)]
    assert 0.18 < sum(each.delay_s > 0 for each in made) / 20_000 < 0.22
    assert 0.04 < sum(each.status == 503 for each in made) / 20_000 < 0.06


def test_they_end() -> None:
    wanted = Faults(abort_status=500, until_at=10.0)
    rng = random.Random(1)
    assert faults.decide(wanted, request(), 9.9, rng).status == 500
    assert faults.decide(wanted, request(), 10.0, rng) is faults.NONE


def test_only_marked_requests() -> None:
    wanted = Faults(abort_status=500, header="x-fault", value="yes", until_at=10.0)
    rng = random.Random(1)
    assert faults.decide(wanted, request(), 1.0, rng) is faults.NONE
    assert faults.decide(wanted, request(x_fault="no"), 1.0, rng) is faults.NONE
    assert faults.decide(wanted, request(X_Fault="yes"), 1.0, rng).status == 500
