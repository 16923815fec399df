"""Work that is done in steps, so that others have their turn in between.

Whoever works is a generator that yields where a step ends, a few milliseconds after the last one;
whoever needs the result at once runs it to its end.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

#: Yields at the end of a step; gives the result.
Steps = Generator[None, None, T]


def at_once(steps: Steps[T]) -> T:
    """The result, without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
