"""When a sidecar that ended is started again."""

from __future__ import annotations

import random

from agent.connect.restarts import HEALTHY_S, Restarts


def test_restarts_slow_down_to_thirty_seconds() -> None:
    restarts, now, delays = Restarts(rng=random.Random(1)), 0.0, []
    for _ in range(8):
        restarts.started(now=now)
        now += 0.1
        delays.append(restarts.ended_s(now=now))
    for delay, ceiling in zip(delays, [1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert 0.8 * ceiling <= delay <= ceiling
    assert restarts.count == 8


def test_a_long_life_makes_the_next_restart_quick() -> None:
    restarts = Restarts(rng=random.Random(1))
    for _ in range(5):
        restarts.ended_s(now=0.0)
    restarts.started(now=100.0)
    assert restarts.ended_s(now=100.0 + HEALTHY_S) <= 1.0
