"""Points in time as people read them."""

from __future__ import annotations

from agent.dates import date


def test_a_date_is_utc_to_the_millisecond() -> None:
    assert date(0.0) == "1970-01-01T00:00:00.000+00:00"
    assert date(1_700_000_000.1239) == "2023-11-14T22:13:20.123+00:00"
