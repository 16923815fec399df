"""What was turned away, and why: counted by reason, the last ones kept, logged in measure. Pure.

Reasons are a closed list, so that each is there at zero before it happens. Somebody who knocks a
thousand times a second fills neither the log nor the memory, nor pushes out what others did: the
last few are kept for each reason, and equal ones in a row are one with a number.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

KEPT_PER_REASON = 8
LOG_INTERVAL_S = 10.0
"""A reason is logged once in so many seconds, with the number of those that were not."""
TEXT_CHARS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """``count`` equal ones, the last at ``at`` (seconds since 1970)."""

    reason: str
    address: str
    """Of the other side; "" where it is not known."""
    claims: str = ""
    """The node id that it gave itself."""
    certificate: str = ""
    """Names in its certificate, which our authority vouches for."""
    detail: str = ""
    at: float
    count: int = 1


class Refusals:
    """Counters, memory and measure of one door."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.counts: Counter[str] = Counter(dict.fromkeys(reasons, 0))
        self._last: dict[str, deque[Refusal]] = {}
        self._logged: dict[str, tuple[float, int]] = {}

    def note(self, refusal: Refusal) -> int | None:
        """Count it. Gives how many of its reason were not logged since the last that was, when
        this one should be; None when it should not."""
        reason, at = refusal.reason, refusal.at
        assert reason in self.counts, f"{reason!r} is on no list of reasons"
        self.counts[reason] += 1
        self._keep(refusal)
        logged_at, silent = self._logged.get(reason, (-LOG_INTERVAL_S, 0))
        if 0 <= at - logged_at < LOG_INTERVAL_S:
            self._logged[reason] = (logged_at, silent + 1)
            return None
        self._logged[reason] = (at, 0)
        return silent

    def _keep(self, refusal: Refusal) -> None:
        refusal = replace(
            refusal,
            claims=refusal.claims[:TEXT_CHARS_MAX],
            certificate=refusal.certificate[:TEXT_CHARS_MAX],
            detail=refusal.detail[:TEXT_CHARS_MAX],
        )
        kept = self._last.setdefault(refusal.reason, deque(maxlen=KEPT_PER_REASON))
        if kept:
            before = kept[-1]
            if replace(before, at=refusal.at, count=1) == refusal:
                kept[-1] = replace(refusal, count=before.count + 1)
                return
        kept.append(refusal)

    def last(self) -> list[Refusal]:
        """What is kept, the latest first."""
        every = [refusal for kept in self._last.values() for refusal in kept]
        return sorted(every, key=lambda refusal: -refusal.at)
