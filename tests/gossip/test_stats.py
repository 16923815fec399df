"""Counters: each reason for which something is thrown away is known beforehand."""

from __future__ import annotations

import re
from pathlib import Path

import gossip
from gossip.stats import DROP_REASONS, GossipStats

GIVEN = re.compile(r'(?:\breason(?:: str)?\s*=\s*|\.drop\()"(\w+)"')


def test_the_reasons_are_all_that_there_are() -> None:
    sources = Path(gossip.__file__).parent.rglob("*.py")
    given = {reason for path in sources for reason in GIVEN.findall(path.read_text())}
    assert given == set(DROP_REASONS)


def test_what_was_never_dropped_is_told_as_zero() -> None:
    stats = GossipStats()
    stats.drop("crc")
    told = stats.with_every_reason().dropped
    assert set(told) == set(DROP_REASONS)
    assert {reason for reason, count in told.items() if count} == {"crc"}
    assert stats.dropped == {"crc": 1}
