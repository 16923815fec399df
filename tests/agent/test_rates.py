"""Buckets under a clock moved by hand."""

from __future__ import annotations

from agent.rates import Bucket, Buckets


def test_a_bucket_says_how_long_to_wait() -> None:
    bucket = Bucket(rate=2.0, most=1.0, now=10.0)
    assert bucket.wait_s(10.0) == 0.0
    bucket.take()
    assert bucket.wait_s(10.0) == 0.5
    assert bucket.wait_s(10.4) > 0.0
    assert bucket.wait_s(10.6) == 0.0


def test_a_rate_of_nothing_never_fills() -> None:
    assert Bucket(rate=0.0, most=0.0, now=0.0).wait_s(1e9) == float("inf")


def test_the_longest_quiet_name_is_forgotten() -> None:
    buckets = Buckets(rate=1.0, most=1.0, names_max=2)
    buckets.of("a", 0.0).take()
    buckets.of("b", 0.0)
    buckets.of("a", 0.0)
    buckets.of("c", 0.0)
    assert len(buckets) == 2
    assert buckets.of("a", 0.0).wait_s(0.0) > 0.0
