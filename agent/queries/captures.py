"""Regular expressions with groups, found in time linear in the text.

Templates take names apart with RE2's syntax, and anybody may ask for any name. As gossip/patterns
does for plain searches, the pattern becomes an automaton whose threads are all followed at once;
here each carries where its groups began and ended, and the threads are kept in the order in which a
backtracking engine would try them, so that the groups are the ones everybody expects (Pike's VM).
"""

from __future__ import annotations

import re
import re._constants as sre  # type: ignore[import-not-found]
from dataclasses import dataclass
from typing import Any

from gossip.patterns import PatternError, Test, char_test, parse_pattern

#: A pattern may come to this many instructions, and names longer than this are not taken apart.
INSTRUCTIONS_MAX = 128
TEXT_MAX = 255
#: A search costs at most the product of the two lengths, at 1 to 1.5 us a step for the worst
#: pattern; one that could cost more is not made, so the loop is held for less than 10 ms.
STEPS_MAX = 6000

_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


@dataclass(slots=True)
class _Instruction:
    """Take a character (``test``), note a position (``slot``), go on under a condition (``at``), or
    go on at once to ``out``, the likelier way first. Without all of these: the pattern matches."""

    test: Test | None = None
    slot: int = -1
    at: str = ""
    out: tuple[int, ...] = ()


_Threads = list[tuple[int, tuple[int, ...]]]


class Captures:
    """A compiled pattern."""

    __slots__ = ("_groups", "_program")

    def __init__(self, program: list[_Instruction], groups: int) -> None:
        self._program = program
        self._groups = groups

    @property
    def text_max(self) -> int:
        """Longer texts are not taken apart: there is no match in them."""
        return min(TEXT_MAX, STEPS_MAX // len(self._program))

    def find(self, text: str) -> tuple[str, ...]:
        """The leftmost match and its groups, "" for a group that took no part; () if none."""
        if len(text) > self.text_max:
            return ()
        nothing = (-1,) * (2 * self._groups)
        found: tuple[int, ...] | None = None
        threads: _Threads = []
        for position in range(len(text) + 1):
            if found is None:
                threads.append((0, nothing))
            elif not threads:
                break
            char = text[position] if position < len(text) else ""
            following: _Threads = []
            for number, slots in self._closure(threads, text, position):
                instruction = self._program[number]
                if instruction.test is None:
                    found = slots  # what comes behind would have been tried later
                    break
                if char and instruction.test(char):
                    following.append((instruction.out[0], slots))
            threads = following
        if found is None:
            return ()
        pairs = zip(found[::2], found[1::2], strict=True)
        return tuple([text[start:end] if start >= 0 <= end else "" for start, end in pairs])

    def _closure(self, threads: _Threads, text: str, position: int) -> _Threads:
        """The threads where they wait for a character or have matched, in their order."""
        reached: _Threads = []
        seen: set[int] = set()
        open_ = threads[::-1]
        while open_:
            number, slots = open_.pop()
            if number in seen:
                continue
            seen.add(number)
            instruction = self._program[number]
            if instruction.test is not None or not instruction.out:
                reached.append((number, slots))
                continue
            if instruction.at and not _holds(instruction.at, text, position):
                continue
            if instruction.slot >= 0:
                slot = instruction.slot
                slots = (*slots[:slot], position, *slots[slot + 1 :])
            open_ += [(out, slots) for out in reversed(instruction.out)]
        return reached


def _holds(condition: str, text: str, position: int) -> bool:
    if condition == "start":
        return position == 0
    if condition == "end":
        return position == len(text)
    before = position > 0 and text[position - 1] in _WORD
    after = position < len(text) and text[position] in _WORD
    return (before is not after) is (condition == "boundary")


def compile_captures(text: str) -> Captures:
    """Compile a pattern. Raises gossip.patterns.PatternError."""
    tree = parse_pattern(text)
    builder = _Builder()
    builder.group(0, tree, tree.state.flags)
    builder.emit()  # the match
    return Captures(builder.program, tree.state.groups)


_AT = {
    sre.AT_BEGINNING: "start",
    sre.AT_BEGINNING_STRING: "start",
    sre.AT_END: "end",
    sre.AT_END_STRING: "end",
    sre.AT_BOUNDARY: "boundary",
    sre.AT_NON_BOUNDARY: "no boundary",
}


class _Builder:
    """From the parser's tree to instructions; each part falls through to what is emitted next."""

    __slots__ = ("program",)

    def __init__(self) -> None:
        self.program: list[_Instruction] = []

    def emit(self, test: Test | None = None, *, slot: int = -1, at: str = "") -> int:
        """An instruction that leads nowhere yet."""
        if len(self.program) >= INSTRUCTIONS_MAX:
            raise PatternError(f"pattern needs more than {INSTRUCTIONS_MAX} instructions")
        self.program.append(_Instruction(test, slot, at))
        return len(self.program) - 1

    def _then(self, number: int) -> None:
        """An instruction leads to the next one."""
        self.program[number].out = (len(self.program),)

    def group(self, number: int | None, tree: Any, flags: int) -> None:
        """A group that notes where it begins and ends; None is one that does not."""
        if number is not None:
            self._then(self.emit(slot=2 * number))
        self._sequence(tree, flags)
        if number is not None:
            self._then(self.emit(slot=2 * number + 1))

    def _sequence(self, tree: Any, flags: int) -> None:
        if flags & re.MULTILINE:
            raise PatternError("multi-line mode is not supported")
        for code, argument in tree:
            self._one(code, argument, flags)

    def _one(self, code: Any, argument: Any, flags: int) -> None:
        if code in {sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN}:
            self._then(self.emit(char_test(code, argument, flags)))
        elif code is sre.AT:
            self._then(self.emit(at=_AT[argument]))
        elif code in {sre.MAX_REPEAT, sre.MIN_REPEAT}:
            low, high, inner = argument
            self._repeat(low, high, inner, flags, greedy=code is sre.MAX_REPEAT)
        elif code is sre.BRANCH:
            self._branch(argument[1], flags)
        elif code is sre.SUBPATTERN:
            number, added, removed, inner = argument
            self.group(number, inner, (flags | added) & ~removed)
        else:
            raise PatternError("back-references and looking around are not supported")

    def _branch(self, branches: Any, flags: int) -> None:
        split, starts, ends = self.emit(), [], []
        for branch in branches:
            starts.append(len(self.program))
            self._sequence(branch, flags)
            ends.append(self.emit())
        self.program[split].out = tuple(starts)
        for end in ends:
            self._then(end)

    def _repeat(self, low: int, high: Any, inner: Any, flags: int, *, greedy: bool) -> None:
        for _ in range(low):
            self._sequence(inner, flags)
        if high is sre.MAXREPEAT:
            split = self.emit()
            body = len(self.program)
            self._sequence(inner, flags)
            self.program[self.emit()].out = (split,)
            self._choose(split, body, greedy=greedy)
            return
        splits = []
        for _ in range(high - low):
            split = self.emit()
            splits.append((split, len(self.program)))
            self._sequence(inner, flags)
        for split, body in splits:
            self._choose(split, body, greedy=greedy)

    def _choose(self, split: int, body: int, *, greedy: bool) -> None:
        after = len(self.program)
        self.program[split].out = (body, after) if greedy else (after, body)
