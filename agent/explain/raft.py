"""`explain raft`: why this server leads or does not, its elections, its disk, its snapshots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from agent.dates import date
from agent.errors import RequestError
from raftstore.raft.inspection import Inspection
from raftstore.records import Json


class Inspects(Protocol):
    """A server's Raft (raftstore/raft/operations.py)."""

    @property
    def inspect(self) -> Callable[[], Inspection]: ...


def explain_raft(raft: Inspects | None, wall_now: float) -> Json:
    """What a server's Raft says about itself. ``wall_now``: now, in seconds since 1970.

    Raises RequestError(404) on an agent that is no server.
    """
    if raft is None:
        raise RequestError(404, "This agent is no server and has no part in Raft")
    found = raft.inspect()
    times = _Times(found.now, wall_now)
    status = found.status
    return {
        "Role": status.role,
        "Term": status.term,
        "Leader": status.leader_id or "",
        "Why": found.why,
        "LastContactSeconds": _rounded(status.last_contact_s),
        "HandingOverTo": found.transfer,
        "Fatal": found.fatal,
        "Elections": _elections(found, times),
        "Leaders": [
            {**times.of(led.at), "Term": led.term, "Leader": led.leader} for led in found.leaders
        ],
        "StepDowns": {
            "Count": status.step_downs,
            "ByReason": dict(status.step_downs_by),
            "Last": [
                {
                    **times.of(one.at),
                    "Term": one.term,
                    "LedSeconds": _rounded(one.led_s),
                    "Reason": one.reason,
                }
                for one in found.step_downs
            ],
        },
        "Log": _log(found),
        "Disk": {
            "ID": found.disk.id,
            "KnownByID": found.known_by,
            "Counts": status.remembers,
            "Founding": found.disk.founding,
            "ServersWithNewDisks": status.disks_replaced,
        },
        "Writes": _writes(found),
        "Snapshots": _snapshots(found, times),
        "Lease": {
            "Enabled": found.config.lease,
            "LeftSeconds": _rounded(status.lease_left_s),
            "Reads": status.lease_reads,
        },
    }


class _Times:
    """Points of the engine's clock as times of day and ages."""

    def __init__(self, now: float, wall_now: float) -> None:
        self._now, self._wall_now = now, wall_now

    def of(self, at: float) -> dict[str, Json]:
        ago_s = self._now - at
        return {"At": date(self._wall_now - ago_s), "SecondsAgo": round(ago_s, 3)}


def _elections(found: Inspection, times: _Times) -> dict[str, Json]:
    status = found.status
    return {
        "Started": status.elections_started,
        "Won": status.elections_won,
        "PreVoteRounds": status.pre_vote_rounds,
        "Last": [
            {
                **times.of(one.at),
                "Term": one.term,
                "Reason": one.reason,
                "PreVoteRounds": one.pre_vote_rounds,
                "AskedForVotes": one.campaigned,
                "GrantedBy": list(one.votes),
                "Outcome": one.outcome,
                "TookSeconds": None if one.ended_at is None else _rounded(one.ended_at - one.at),
            }
            for one in found.attempts
        ],
    }


def _log(found: Inspection) -> dict[str, Json]:
    status = found.status
    return {
        "FirstIndex": status.first_index,
        "LastIndex": status.last_index,
        "CommitIndex": status.commit_index,
        "AppliedIndex": status.applied_index,
        "UsedBytes": status.journal_used_bytes,
        "MaxBytes": status.journal_max_bytes,
        "Full": status.journal_full,
        "YieldWhenFull": found.config.yield_when_full,
        "HandoversBecauseFull": status.full_handovers,
    }


def _writes(found: Inspection) -> dict[str, Json]:
    status, window = found.status, found.latencies
    return {
        "Count": status.syncs,
        "Slow": status.slow_syncs,
        "SlowFromSeconds": found.config.slow_sync_s,
        "MaxSeconds": _rounded(status.sync_max_s),
        "PresentSeconds": _rounded(found.writing_s),
        "Window": {
            "Writes": window.writes,
            "Seconds": _rounded(window.window_s),
            "P50Seconds": _rounded(window.p50_s),
            "P99Seconds": _rounded(window.p99_s),
            "MaxSeconds": _rounded(window.max_s),
        },
    }


def _snapshots(found: Inspection, times: _Times) -> dict[str, Json]:
    status, config, growth = found.status, found.config, found.growth
    return {
        "Index": status.snapshot_index,
        "Bytes": status.snapshot_bytes,
        "Taken": status.snapshots_taken,
        "Failed": status.snapshots_failed,
        "Installed": status.snapshots_installed,
        "Sent": status.snapshots_sent,
        "TakingBecause": found.taking,
        "DueBecause": found.next_snapshot,
        "SinceThen": None
        if growth is None
        else {
            "Entries": growth.log_entries,
            "EntriesForNext": config.snapshot_log_entries,
            "LogBytes": growth.log_bytes,
            "LogBytesForNext": max(config.snapshot_log_bytes, growth.snapshot_bytes),
            "LeastSecondsBetween": config.snapshot_interval_s,
        },
        "Last": [
            {
                **times.of(one.at),
                "Reason": one.reason,
                "Outcome": one.outcome,
                "Index": one.index,
                "Bytes": one.size,
                "TookSeconds": _rounded(one.seconds),
            }
            for one in found.snapshots
        ],
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
