"""Why a check has its status: its last results, for ``explain``. Bounded per check."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from agent.dates import date
from raftstore.records import CheckId, Json

#: Results kept of each check, and characters of output kept of each result.
RESULTS_MAX = 20
OUTPUT_MAX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One result. ``at`` is Unix time; ``before`` equals ``after`` when it changed nothing."""

    at: float
    before: str
    after: str
    output: str
    cause: str
    duration_s: float = 0.0
    #: From when the probe was due until there was room for it.
    waited_s: float = 0.0


class CheckHistory:
    """The last transitions of every check."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[CheckId, deque[Transition]] = {}

    def note(self, check_id: CheckId, transition: Transition) -> None:
        """Keep a result; the oldest of that check makes room.

        Of results in a row that change nothing only the newest is kept: changes are the story.
        """
        kept = self._of.setdefault(check_id, deque(maxlen=RESULTS_MAX))
        if kept and transition.before == transition.after and kept[-1].before == kept[-1].after:
            kept.pop()
        kept.append(transition)

    def forget(self, check_id: CheckId) -> None:
        """The check is gone."""
        self._of.pop(check_id, None)

    def explain(
        self, check_id: CheckId, meanwhile: Callable[[float, float], Json] = lambda *_: None
    ) -> list[Json]:
        """Newest last, as plain data. ``meanwhile`` says what else happened between two times."""
        return [_shown(each, meanwhile) for each in self._of.get(check_id, ())]


def _shown(transition: Transition, meanwhile: Callable[[float, float], Json]) -> Json:
    at = transition.at
    shown: dict[str, Json] = {
        "At": date(at),
        "Before": transition.before,
        "After": transition.after,
        "Output": transition.output[:OUTPUT_MAX],
        "Cause": transition.cause,
        "DurationSeconds": round(transition.duration_s, 6),
        "WaitedSeconds": round(transition.waited_s, 6),
    }
    if transition.before != transition.after:
        shown["Meanwhile"] = meanwhile(at - transition.duration_s, at)
    return shown
