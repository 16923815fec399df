"""The limit finds what an application can take, in a simulation of a queue."""

import heapq
import random

from proxy.l7.concurrency import Concurrency, ConcurrencyConfig


def simulated(workers: int, service_s: float, offered: float, seconds: float) -> Concurrency:
    """An application with so many workers, and requests that come at random."""
    rng = random.Random(7)
    limit = Concurrency(ConcurrencyConfig(), 0.0, rng)
    now, ends, free_at = 0.0, [], [0.0] * workers  # type: tuple[float, list[tuple[float, float]], list[float]]
    heapq.heapify(free_at)
    while now < seconds:
        now += rng.expovariate(offered)
        while ends and ends[0][0] <= now:
            end, began = heapq.heappop(ends)
            limit.leave(end, end - began)
        if limit.enter(now):
            start = max(now, heapq.heappop(free_at))
            end = start + rng.uniform(0.9, 1.1) * service_s
            heapq.heappush(free_at, end)
            heapq.heappush(ends, (end, now))
    return limit


def test_it_settles_near_the_workers_and_sheds_the_rest() -> None:
    limit = simulated(workers=20, service_s=0.01, offered=6000, seconds=20)
    assert 15 <= limit.limit <= 45  # 20 workers and some in the queue
    assert limit.refused > 20_000


def test_without_overload_next_to_nothing_is_shed() -> None:
    limit = simulated(workers=50, service_s=0.01, offered=500, seconds=20)
    assert limit.refused < 0.01 * 500 * 20


def test_the_bound_is_small_while_it_measures() -> None:
    limit = Concurrency(ConcurrencyConfig(), 0.0, random.Random(1))
    assert [limit.enter(0.0) for _ in range(5)] == [True, True, True, False, False]
    for _ in range(3):
        limit.leave(0.1, None)
    assert limit.active == 0
