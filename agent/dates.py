"""Points in time as people read them."""

from __future__ import annotations

from datetime import UTC, datetime


def date(stamp: float) -> str:
    """Seconds since the epoch as an RFC 3339 time in UTC, to the millisecond."""
    return datetime.fromtimestamp(stamp, UTC).isoformat(timespec="milliseconds")


def rfc3339(moment: datetime) -> str:
    """A moment as text in UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
