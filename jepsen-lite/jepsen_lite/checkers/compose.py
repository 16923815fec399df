"""Several checkers as one: the worst verdict counts, and a checker that crashes knows nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jepsen_lite.checkers import Checker, Validity, Verdict
from jepsen_lite.history import Op

#: From the best verdict to the worst.
RANK = (Validity.VALID, Validity.UNKNOWN, Validity.INVALID)


def check_all(checkers: Mapping[str, Checker], ops: Sequence[Op]) -> list[Verdict]:
    """One verdict for each checker."""
    return [_guarded(name, checker, ops) for name, checker in checkers.items()]


def worst(verdicts: Sequence[Verdict]) -> Validity:
    """Invalid if any is, else unknown if any is. No verdict at all is unknown."""
    if not verdicts:
        return Validity.UNKNOWN
    return max((v.validity for v in verdicts), key=RANK.index)


def _guarded(name: str, checker: Checker, ops: Sequence[Op]) -> Verdict:
    try:
        return checker(ops)
    except Exception as error:
        return Verdict(name, Validity.UNKNOWN, 0, (f"the checker failed: {error!r}",))
