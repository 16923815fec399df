"""Patterns from users, matched in time linear in the text.

The contract asks for RE2, whose promise is that no pattern and no text together take long. Python's
`re` backtracks and has no such promise, so a pattern is first read with its parser and only those
forms are let through that cannot backtrack badly: no back-references and no looking around (RE2
has neither), no repetition inside a repetition, no alternatives inside one, and a small number of
open repetitions. What is refused is named in the error.
"""

from __future__ import annotations

import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as sre_parser  # type: ignore[import-not-found]
from typing import Any

PATTERN_MAX = 256
#: Open repetitions of one pattern; the worst case is the text's length to this power.
REPETITIONS_MAX = 2
#: A counted repetition may ask for no more than this.
COUNT_MAX = 1000


class PatternError(ValueError):
    """The pattern is broken, or could take too long."""


def compile_pattern(text: str) -> re.Pattern[str]:
    """A pattern that is safe to search with."""
    if len(text) > PATTERN_MAX:
        raise PatternError(f"pattern is longer than {PATTERN_MAX} characters")
    try:
        tree = sre_parser.parse(text)
        _Limits().walk(tree, inside=False)
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise PatternError(f"error parsing regexp: {error}") from None


class _Limits:
    """Counts what a pattern asks for while walking over it."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open = 0

    def walk(self, tree: Any, *, inside: bool) -> None:
        for code, argument in tree:
            self._one(code, argument, inside=inside)

    def _one(self, code: Any, argument: Any, *, inside: bool) -> None:
        if code in {sre.ASSERT, sre.ASSERT_NOT, sre.GROUPREF, sre.GROUPREF_EXISTS}:
            raise PatternError("back-references and looking around are not supported")
        if code in {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}:
            low, high, inner = argument
            if inside:
                raise PatternError("repetition inside a repetition is not supported")
            if (high is not sre.MAXREPEAT and high > COUNT_MAX) or low > COUNT_MAX:
                raise PatternError(f"repetition count is greater than {COUNT_MAX}")
            if high is sre.MAXREPEAT or high > 1:
                self._open += 1
                if self._open > REPETITIONS_MAX:
                    raise PatternError(f"more than {REPETITIONS_MAX} repetitions")
            self.walk(inner, inside=True)
        elif code is sre.BRANCH:
            if inside:
                raise PatternError("alternatives inside a repetition are not supported")
            for branch in argument[1]:
                self.walk(branch, inside=inside)
        elif code is sre.SUBPATTERN:
            self.walk(argument[3], inside=inside)
        elif code is sre.ATOMIC_GROUP:
            self.walk(argument, inside=inside)
