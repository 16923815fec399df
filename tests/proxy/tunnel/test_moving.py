"""When a stream is worth a connection of its own."""

from __future__ import annotations

from proxy.tunnel.channel import Channel
from proxy.tunnel.limits import TunnelLimits
from proxy.tunnel.moving import is_due

LIMITS = TunnelLimits(own_bytes=1000, own_within_s=2.0)


def channel() -> Channel:
    return Channel(1, 0, 0, 10.0)


def test_much_in_a_short_time_is_due() -> None:
    fast = channel()
    fast.moved = 999
    assert not is_due(fast, LIMITS, 10.5)
    fast.moved = 1000
    assert is_due(fast, LIMITS, 11.9)


def test_much_in_a_long_time_is_not_and_the_measure_begins_anew() -> None:
    slow = channel()
    slow.moved = 1500
    assert not is_due(slow, LIMITS, 12.1)
    slow.moved = 2400
    assert not is_due(slow, LIMITS, 12.2)
    slow.moved = 2500
    assert is_due(slow, LIMITS, 12.3)


def test_a_stream_is_offered_once() -> None:
    fast = channel()
    fast.moved, fast.offered = 5000, True
    assert not is_due(fast, LIMITS, 10.1)
