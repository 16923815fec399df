"""When a snapshot is due, and how much of the log it makes dispensable. Pure.

The log is kept back to the snapshot before the newest one, so that a newest one that turns out
damaged can be done without; and never less than what followers that lag a little may ask for. Under
pressure for room both are given up.
"""

from __future__ import annotations

from dataclasses import dataclass

from raftstore.raft.config import RaftConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LogGrowth:
    """What has happened since the last snapshot was begun."""

    log_bytes: int
    log_entries: int
    snapshot_bytes: int
    """Size of the last one, 0 if there is none."""
    since_s: float
    """Seconds since the last one was begun, finished or not."""
    pressed: bool
    """Is the journal short of room?"""


def due(config: RaftConfig, growth: LogGrowth) -> str:
    """Why a snapshot should be taken now; empty if none should."""
    if growth.since_s < config.snapshot_interval_s or growth.log_entries <= 0:
        return ""
    if growth.pressed:
        return "the journal is short of room"
    if growth.log_bytes > max(config.snapshot_log_bytes, growth.snapshot_bytes):
        return "the log has grown"
    if growth.log_entries >= config.snapshot_log_entries:
        return "the log is long"
    return ""


def trim_index(
    config: RaftConfig, *, index: int, previous: int, held: int | None, pressed: bool
) -> int:
    """Up to where the log may go once a snapshot at ``index`` is safe.

    ``previous``: index of the snapshot before it, 0 if there is none. ``held``: index of the
    oldest snapshot that is being sent, whose receiver will want the log from there on.
    """
    if pressed:
        return index
    least = min(previous, index - config.trailing_entries)
    return max(0, least if held is None else min(least, held))
