"""Waiting for a condition of real programs, with a deadline, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], *, within_s: float, what: str = "") -> T:
    """The first true thing ``look`` gives; what it raises counts as "not yet".

    Raises AssertionError with the last thing seen when time is up.
    """
    deadline = time.monotonic() + within_s
    last: object = None
    while True:
        try:
            last = seen = look()
        except (OSError, AssertionError, LookupError, ValueError) as error:
            last = error
        else:
            if seen:
                return seen
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within_s} s: {what or look}; last seen: {last!r}")
        time.sleep(0.02)
