"""What an application is spared, as answers."""

import random

from proxy.l7.guard import Guard, GuardConfig, read


def full_match(pattern: str, text: str) -> bool:
    return pattern == text


def test_over_the_rate_is_429_with_the_time_to_wait() -> None:
    limits = {"InstanceLevel": {"RequestsPerSecond": 0.5, "RequestsMaxBurst": 1}}
    guard = Guard(read(limits, {}), 0.0, random.Random(1))
    assert guard.enter("/", 0.0, full_match) is None
    refused = guard.enter("/", 0.0, full_match)
    assert refused is not None
    assert (refused.status, refused.headers) == (429, (("Retry-After", "2"),))
    assert guard.enter("/", 2.0, full_match) is None


def test_too_many_at_once_are_503() -> None:
    guard = Guard(read(None, {"lictor_adaptive_concurrency": True}), 0.0, random.Random(1))
    entered = [guard.enter("/", 0.0, full_match) for _ in range(4)]
    assert [each is None for each in entered] == [True, True, True, False]
    for _ in range(3):
        guard.leave(0.1, 0.0, answered=True)
    assert guard.enter("/", 0.1, full_match) is None


def test_without_settings_nothing_is_refused() -> None:
    assert read("junk", {"lictor_adaptive_concurrency": "junk"}) == GuardConfig()
    guard = Guard(GuardConfig(), 0.0, random.Random(1))
    assert all(guard.enter("/", 0.0, full_match) is None for _ in range(1000))


def test_settings_are_read() -> None:
    made = read(None, {"lictor_adaptive_concurrency": {"min": 5, "max": -1, "idle_every": "10s"}})
    assert made.concurrency is not None
    assert (made.concurrency.limit_min, made.concurrency.limit_max) == (5, 1000)
    assert made.concurrency.idle_every_s == 10.0
