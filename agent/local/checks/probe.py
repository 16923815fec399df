"""What a probe gives back. The probes themselves are beside this file, by kind of check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One look at an application. ``timed_out``: the time ran out, rather than an answer came."""

    status: str
    output: str
    timed_out: bool = False
