"""Patterns from users and from the ring, searched in time linear in the text.

The contracts (query filters of the ring, filter expressions over HTTP) ask for RE2, whose promise
is that no pattern and no text together take long; Python's `re` backtracks and promises nothing. So
only its parser is used: the pattern becomes a non-deterministic automaton, and a search follows all
its threads at once, remembering the sets of states it met (Thompson's construction with a lazily
built deterministic automaton; the known way of grep and RE2). Not taken: back-references and
looking around, which RE2 has not either, and word boundaries and multi-line mode, which it has.
"""

from __future__ import annotations

import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as sre_parser  # type: ignore[import-not-found]
import warnings
from collections.abc import Callable, Iterable
from typing import Any

PATTERN_MAX = 256
#: Counted repetitions are written out; a pattern may come to this many states.
STATES_MAX = 600
#: Steps that are remembered before all are forgotten.
STEPS_KEPT_MAX = 4096

_DIGIT = frozenset("0123456789")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_SPACE = frozenset(" \t\n\r\f\v")
#: RE2's classes are those of ASCII.
_CATEGORIES = {
    sre.CATEGORY_DIGIT: (_DIGIT, True),
    sre.CATEGORY_NOT_DIGIT: (_DIGIT, False),
    sre.CATEGORY_WORD: (_WORD, True),
    sre.CATEGORY_NOT_WORD: (_WORD, False),
    sre.CATEGORY_SPACE: (_SPACE, True),
    sre.CATEGORY_NOT_SPACE: (_SPACE, False),
}

Test = Callable[[str], bool]


class PatternError(ValueError):
    """The pattern is broken, or holds what is not supported."""


class _State:
    """One state: takes a character (``test``), or goes on at once to ``out`` under a condition."""

    __slots__ = ("condition", "out", "test")

    def __init__(self, test: Test | None = None, condition: str = "") -> None:
        self.test = test
        self.condition = condition  # "", "start" or "end"
        self.out: list[int] = []


class Pattern:
    """A compiled pattern."""

    __slots__ = ("_accept", "_first", "_start", "_states", "_steps")

    def __init__(self, states: list[_State], start: int, accept: int) -> None:
        self._states = states
        self._start = start
        self._accept = accept
        self._first = self._closure([start], at_start=False)
        self._steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def search(self, text: str) -> bool:
        """Whether the pattern matches anywhere in the text."""
        accept, steps = self._accept, self._steps
        here = self._closure([self._start], at_start=True)
        for char in text:
            if accept in here:
                return True
            key = (here, char)
            there = steps.get(key)
            if there is None:
                there = self._step(here, char)
                if len(steps) >= STEPS_KEPT_MAX:
                    steps.clear()
                steps[key] = there
            here = there
        return accept in self._closure(here, at_start=not text, at_end=True)

    def _step(self, here: frozenset[int], char: str) -> frozenset[int]:
        taken = [
            out
            for number in here
            if (test := self._states[number].test) is not None and test(char)
            for out in self._states[number].out
        ]
        return self._closure(taken, at_start=False) | self._first

    def _closure(
        self, numbers: Iterable[int], *, at_start: bool, at_end: bool = False
    ) -> frozenset[int]:
        """Everything reachable without taking a character."""
        found: set[int] = set()
        open_ = list(numbers)
        while open_:
            number = open_.pop()
            if number in found:
                continue
            found.add(number)
            state = self._states[number]
            blocked = (state.condition == "start" and not at_start) or (
                state.condition == "end" and not at_end
            )
            if state.test is None and not blocked:
                open_ += state.out
        return frozenset(found)


def compile_pattern(
    text: str, *, states_max: int = STATES_MAX, length_max: int = PATTERN_MAX
) -> Pattern:
    """Compile a pattern. A search costs at most ``states_max`` steps a character.

    Raises PatternError.
    """
    tree = parse_pattern(text, length_max=length_max)
    try:
        return _Builder(states_max).build(tree)
    except RecursionError as error:
        raise PatternError(f"error parsing regexp: {error}") from None


def parse_pattern(text: str, *, length_max: int = PATTERN_MAX) -> Any:
    """The tree of a pattern as Python's parser sees it. Raises PatternError."""
    if len(text) > length_max:
        raise PatternError(f"pattern is longer than {length_max} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about spellings that may change meaning one day
            return sre_parser.parse(text)
    except (re.error, ValueError, RecursionError, OverflowError) as error:
        words = _words(text, error) if isinstance(error, re.error) else str(error)
        raise PatternError(f"error parsing regexp: {words}") from None


def _words(text: str, error: re.error) -> str:
    """What is wrong with a pattern, as RE2's users know it."""
    at = error.pos or 0
    match error.msg.split(" at position")[0]:
        case "missing ), unterminated subpattern":
            return f"missing closing ): `{text}`"
        case "unbalanced parenthesis":
            return f"unexpected ): `{text}`"
        case "unterminated character set":
            return f"missing closing ]: `{text[at:]}`"
        case "nothing to repeat":
            return f"missing argument to repetition operator: `{text[at : at + 1]}`"
        case "multiple repeat":
            return f"invalid nested repetition operator: `{text[at - 1 : at + 1]}`"
        case "bad escape (end of pattern)":
            return "trailing backslash at end of expression: ``"
        case "min repeat greater than max repeat":
            return f"invalid repeat count: `{text[text.rfind('{', 0, at) :].partition('}')[0]}}}`"
    return str(error)


class _Builder:
    """From the parser's tree to states. Each part gives its first state and its last."""

    __slots__ = ("_states", "_states_max")

    def __init__(self, states_max: int) -> None:
        self._states: list[_State] = []
        self._states_max = states_max

    def build(self, tree: Any) -> Pattern:
        first, last = self._sequence(tree, tree.state.flags)
        return Pattern(self._states, first, last)

    def _new(self, test: Test | None = None, condition: str = "") -> int:
        if len(self._states) >= self._states_max:
            raise PatternError(f"pattern needs more than {self._states_max} states")
        self._states.append(_State(test, condition))
        return len(self._states) - 1

    def _join(self, start: int, end: int) -> None:
        self._states[start].out.append(end)

    def _sequence(self, tree: Any, flags: int) -> tuple[int, int]:
        if flags & re.MULTILINE:
            raise PatternError("multi-line mode is not supported")
        first = last = self._new()
        for code, argument in tree:
            start, end = self._one(code, argument, flags)
            self._join(last, start)
            last = end
        return first, last

    def _one(self, code: Any, argument: Any, flags: int) -> tuple[int, int]:
        if code in {sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN}:
            start, end = self._new(char_test(code, argument, flags)), self._new()
            self._join(start, end)
            return start, end
        if code is sre.AT:
            if argument in {sre.AT_BEGINNING, sre.AT_BEGINNING_STRING}:
                return self._conditional("start")
            if argument in {sre.AT_END, sre.AT_END_STRING}:
                return self._conditional("end")
            raise PatternError("word boundaries are not supported")
        if code in {sre.MAX_REPEAT, sre.MIN_REPEAT}:
            low, high, inner = argument
            return self._repeat(low, high, inner, flags)
        if code is sre.BRANCH:
            first, last = self._new(), self._new()
            for branch in argument[1]:
                start, end = self._sequence(branch, flags)
                self._join(first, start)
                self._join(end, last)
            return first, last
        if code is sre.SUBPATTERN:
            _, added, removed, inner = argument
            return self._sequence(inner, (flags | added) & ~removed)
        raise PatternError("back-references and looking around are not supported")

    def _conditional(self, condition: str) -> tuple[int, int]:
        start, end = self._new(condition=condition), self._new()
        self._join(start, end)
        return start, end

    def _repeat(self, low: int, high: Any, inner: Any, flags: int) -> tuple[int, int]:
        first = last = self._new()
        for _ in range(low):
            start, end = self._sequence(inner, flags)
            self._join(last, start)
            last = end
        if high is sre.MAXREPEAT:
            start, end = self._sequence(inner, flags)
            loop = self._new()
            self._join(last, loop)
            self._join(loop, start)
            self._join(end, loop)
            return first, loop
        done = self._new()
        self._join(last, done)
        for _ in range(high - low):
            start, end = self._sequence(inner, flags)
            self._join(last, start)
            self._join(end, done)
            last = end
        return first, done


def char_test(code: Any, argument: Any, flags: int) -> Test:
    """Whether one character is taken."""
    if code is sre.ANY:
        return (lambda char: True) if flags & re.DOTALL else (lambda char: char != "\n")
    if code is sre.IN:
        plain = _set_test(argument)
    else:
        wanted, same = chr(argument), code is sre.LITERAL
        plain = lambda char: (char == wanted) is same  # noqa: E731
    if not flags & re.IGNORECASE:
        return plain
    if code is sre.NOT_LITERAL:
        return lambda char: all(plain(each) for each in (char, char.lower(), char.upper()))
    if code is sre.IN and argument and argument[0][0] is sre.NEGATE:
        return lambda char: all(plain(each) for each in (char, char.lower(), char.upper()))
    return lambda char: plain(char) or plain(char.lower()) or plain(char.upper())


def _set_test(items: Any) -> Test:
    singles: set[str] = set()
    ranges: list[tuple[str, str]] = []
    classes: list[tuple[frozenset[str], bool]] = []
    negated = False
    for code, argument in items:
        if code is sre.NEGATE:
            negated = True
        elif code is sre.LITERAL:
            singles.add(chr(argument))
        elif code is sre.RANGE:
            ranges.append((chr(argument[0]), chr(argument[1])))
        else:
            classes.append(_CATEGORIES[argument])

    def taken(char: str) -> bool:
        inside = (
            char in singles
            or any(low <= char <= high for low, high in ranges)
            or any((char in members) is wanted for members, wanted in classes)
        )
        return inside is not negated

    return taken
