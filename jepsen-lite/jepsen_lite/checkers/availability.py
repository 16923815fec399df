"""How much of the time the store answered. Faults may cost answers; afterwards it must answer.

The verdict is about the last promise only: after the last fault was healed some change was
acknowledged. Shares and times are told in the report (report.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from jepsen_lite.checkers import Verdict, verdict
from jepsen_lite.history import NEMESIS, OK, Op, pair

NAME = "availability"


def check(ops: Sequence[Op]) -> Verdict:
    """The verdict about the end of the run."""
    healed = max((op.at for op in ops if op.process == NEMESIS and op.f == "heal"), default=0.0)
    done = [o for o in pair(ops) if o.completion is not None and o.outcome == OK]
    after = [o for o in done if o.completion is not None and o.completion.at >= healed]
    problems = [] if after or not done else [f"nothing was answered after {healed:.1f} s"]
    return verdict(NAME, len(done), problems)
