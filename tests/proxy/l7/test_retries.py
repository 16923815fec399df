"""Retries help where they may, and never cost more than their share."""

import random

import pytest

from proxy.l7.retries import BACKOFF_MAX_S, Budget, Failure, RetryPolicy, backoff_s, wanted

NOT_SENT, RESET, TIMEOUT = Failure(sent=False), Failure(reset=True), Failure(timed_out=True)


def policy(*conditions: str, statuses: tuple[int, ...] = (), **more: bool) -> RetryPolicy:
    return RetryPolicy(
        retries=2, conditions=frozenset(conditions), statuses=frozenset(statuses), **more
    )


@pytest.mark.parametrize(
    ("given", "method", "failure", "again"),
    [
        (policy(), "GET", NOT_SENT, True),
        (policy(), "POST", NOT_SENT, True),
        (RetryPolicy(), "GET", NOT_SENT, False),
        (policy(), "GET", RESET, False),
        (policy(), "GET", Failure(status=503), False),
        (policy("reset"), "GET", RESET, True),
        (policy("reset"), "POST", RESET, False),
        (policy("reset", non_idempotent=True), "POST", RESET, True),
        (policy("5xx"), "GET", Failure(status=500), True),
        (policy("5xx"), "PUT", Failure(status=503), True),
        (policy("5xx"), "PATCH", Failure(status=503), False),
        (policy("gateway-error"), "GET", Failure(status=500), False),
        (policy("gateway-error"), "GET", Failure(status=504), True),
        (policy("retriable-4xx"), "GET", Failure(status=409), True),
        (policy(statuses=(418,)), "GET", Failure(status=418), True),
        (policy("5xx"), "GET", TIMEOUT, True),
        (policy("connect-failure"), "GET", TIMEOUT, False),
    ],
)
def test_conditions(given: RetryPolicy, method: str, failure: Failure, again: bool) -> None:
    assert wanted(given, method, failure) is again


def test_the_budget_is_a_share_of_the_traffic_with_a_floor() -> None:
    budget, now, retried = Budget(), 0.0, 0
    for _ in range(4000):  # 400 a second for ten seconds, every one fails
        now += 0.0025
        budget.active = 100
        budget.first(now)
        retried += budget.take(now)
    assert retried <= 0.2 * 4000 + 10 * 10
    assert budget.exhausted > 0
    idle = Budget()
    assert idle.take(0.0)  # the floor


def test_retries_under_way_are_bounded() -> None:
    budget = Budget()
    budget.active = 10
    budget.retrying = 3
    assert not budget.take(0.0)
    budget.active = 100
    assert budget.take(0.0)


def test_pauses_grow_with_jitter_to_a_bound() -> None:
    rng = random.Random(1)
    first = [backoff_s(1, rng) for _ in range(200)]
    assert 0 <= min(first) < 0.005
    assert max(first) <= 0.025
    assert max(backoff_s(20, rng) for _ in range(200)) <= BACKOFF_MAX_S
