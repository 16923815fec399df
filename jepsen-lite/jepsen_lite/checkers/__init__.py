"""Checkers judge a finished history. Verdicts are three-valued: valid, invalid, or unknown."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jepsen_lite.history import Op

#: Problems listed in a verdict; the rest is only counted.
PROBLEMS_MAX = 20


class Validity(enum.Enum):
    """``INVALID`` outranks ``UNKNOWN``, which outranks ``VALID``."""

    VALID = "valid"
    UNKNOWN = "unknown"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one checker found. ``checked`` counts what it looked at: a verdict about nothing is
    worth nothing."""

    name: str
    validity: Validity
    checked: int
    problems: tuple[str, ...] = ()


Checker = Callable[[Sequence[Op]], Verdict]


def verdict(name: str, checked: int, problems: Sequence[str]) -> Verdict:
    """Valid without problems; unknown when there was nothing to check."""
    if problems:
        return Verdict(name, Validity.INVALID, checked, tuple(problems[:PROBLEMS_MAX]))
    if not checked:
        return Verdict(name, Validity.UNKNOWN, 0, ("nothing to check",))
    return Verdict(name, Validity.VALID, checked)
