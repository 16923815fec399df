"""Filter expressions over JSON answers: grammar, checks and evaluation (http-api contract 1.8).

An expression is parsed, checked against the fields of the endpoint (`filter_kinds`) and compiled
to a function of one JSON object. Everything about it is bounded: length, nesting, and the time
of a pattern (gossip/patterns.py). Error texts are the reference's as far as its tests pin them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.errors import RequestError
from agent.filter_kinds import Field, Kind
from gossip import patterns
from raftstore.records import Json

EXPRESSION_MAX = 4096
#: Nested parentheses and negations.
DEPTH_MAX = 32

Predicate = Callable[[Json], bool]

_SPACE = " \t\r\n"
_IDENT = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_RAW = re.compile(r"`([^`]*)`")
_WORD = re.compile(r"[a-z]+")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}

_EXPECT_SPACE = "[ \\t\\r\\n]"
_EXPECT_AFTER_SELECTOR = '"!=", ".", "==", "[", [ \\t\\r\\n] or [a-zA-Z0-9_]'
_EXPECT_OPERATOR = '"!=", "==", "contains", "in", "is", "matches", "not" or [ \\t\\r\\n]'
_EXPECT_VALUE = '"-", "0", "\\"", "`", [ \\t\\r\\n], [1-9] or [a-zA-Z]'
_EXPECT_IN = '"in", "not" or [ \\t\\r\\n]'
_EXPECT_TERM = '"(", "-", "0", "\\"", "`", "not", [ \\t\\r\\n], [1-9] or [a-zA-Z]'
_EXPECT_END = '"and", "or", [ \\t\\r\\n] or EOF'


class FilterError(ValueError):
    """The expression cannot be used; the text is the reference's, without its prefix."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A match operator. ``negated`` is what it gives where the field is not there."""

    word: str
    negated: bool


EQUAL, NOT_EQUAL = Operator("Equal", False), Operator("Not Equal", True)
IN, NOT_IN = Operator("In", False), Operator("Not In", True)
EMPTY, NOT_EMPTY = Operator("Is Empty", True), Operator("Is Not Empty", False)
MATCHES, NOT_MATCHES = Operator("Matches", False), Operator("Not Matches", True)

_ALLOWED: Mapping[Kind, frozenset[Operator]] = {
    Kind.STRING: frozenset({EQUAL, NOT_EQUAL, IN, NOT_IN, EMPTY, NOT_EMPTY, MATCHES, NOT_MATCHES}),
    Kind.INTEGER: frozenset({EQUAL, NOT_EQUAL}),
    Kind.BOOLEAN: frozenset({EQUAL, NOT_EQUAL}),
    Kind.STRINGS: frozenset({IN, NOT_IN, EMPTY, NOT_EMPTY}),
    Kind.MAP: frozenset({IN, NOT_IN, EMPTY, NOT_EMPTY}),
    Kind.OBJECTS: frozenset({EMPTY, NOT_EMPTY}),
    Kind.OBJECT: frozenset(),
}


def compile_filter(expression: str, root: Field) -> Predicate:
    """The expression as a function of one JSON object. Raises RequestError 500."""
    if len(expression) > EXPRESSION_MAX:
        raise _refused(f"expression is longer than {EXPRESSION_MAX} characters")
    try:
        return _Parser(expression, root).parse()
    except FilterError as error:
        raise _refused(str(error)) from None


def _refused(reason: str) -> RequestError:
    return RequestError(500, f"Failed to create boolean expression evaluator: {reason}")


class _Parser:
    """Recursive descent; ``_at`` only moves forward, save for one look back in ``_match``."""

    __slots__ = ("_at", "_depth", "_root", "_text")

    def __init__(self, text: str, root: Field) -> None:
        self._text = text
        self._root = root
        self._at = 0
        self._depth = 0

    def parse(self) -> Predicate:
        self._skip()
        result = self._or()
        self._skip()
        if self._at < len(self._text):
            raise self._fail(_EXPECT_END)
        return result

    # -- expressions ------------------------------------------------------------------------------

    def _or(self) -> Predicate:
        parts = [self._and()]
        while self._keyword("or"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else lambda item: any(part(item) for part in parts)

    def _and(self) -> Predicate:
        parts = [self._not()]
        while self._keyword("and"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else lambda item: all(part(item) for part in parts)

    def _not(self) -> Predicate:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise FilterError(f"expression is nested deeper than {DEPTH_MAX}")
        try:
            start = self._at
            if self._text.startswith("not", start) and self._char(start + 3) in _SPACE_SET:
                self._at += 3
                self._skip()
                inner = self._not()
                return lambda item: not inner(item)
            if self._char() == "(":
                self._at += 1
                self._skip()
                inner = self._or()
                self._skip()
                if self._char() != ")":
                    raise self._fail('")" or ' + _EXPECT_END.replace(" or EOF", ""))
                self._at += 1
                return inner
            return self._match()
        finally:
            self._depth -= 1

    def _keyword(self, word: str) -> bool:
        """Take ``and`` / ``or`` with the space it needs, if it is next."""
        start = self._at
        self._skip()
        if not self._text.startswith(word, self._at):
            self._at = start
            return False
        self._at += len(word)
        if self._char() not in _SPACE_SET:
            raise self._fail(_EXPECT_SPACE)
        self._skip()
        return True

    # -- matches ----------------------------------------------------------------------------------

    def _match(self) -> Predicate:
        start = self._at
        path = self._selector()
        if path is None:
            return self._value_first(self._value(_EXPECT_TERM))
        written = self._text[start : self._at]
        spaced = self._skip()
        if self._text.startswith("==", self._at) or self._text.startswith("!=", self._at):
            operator = EQUAL if self._text[self._at] == "=" else NOT_EQUAL
            self._at += 2
            self._skip()
            return self._build(path, operator, self._value(_EXPECT_VALUE))
        if not spaced:
            raise self._fail(_EXPECT_AFTER_SELECTOR)
        word_at = self._at
        negated = self._take_word("not")
        word = self._next_word()
        if word == "in":
            self._at = word_at
            return self._value_first(written, spaced=True)
        if word == "contains":
            return self._build(path, NOT_IN if negated else IN, self._value(_EXPECT_VALUE))
        if word == "matches":
            operator = NOT_MATCHES if negated else MATCHES
            return self._build(path, operator, self._value(_EXPECT_VALUE))
        if word == "is" and not negated:
            negated = self._take_word("not")
            if self._next_word(spaced=False) == "empty":
                return self._build(path, NOT_EMPTY if negated else EMPTY, None)
            raise self._fail('"empty", "not" or ' + _EXPECT_SPACE)
        self._at = word_at
        raise self._fail(_EXPECT_OPERATOR)

    def _value_first(self, value: str, *, spaced: bool = False) -> Predicate:
        """``value in selector`` and ``value not in selector``; ``spaced``: the space is taken."""
        if not self._skip() and not spaced:
            raise self._fail(_EXPECT_SPACE)
        word_at = self._at
        negated = self._take_word("not")
        if self._next_word() != "in":
            self._at = word_at
            raise self._fail(_EXPECT_IN)
        path = self._selector()
        if path is None:
            raise FilterError(f'{self._where()}: rule "match": Invalid selector')
        return self._build(path, NOT_IN if negated else IN, value)

    def _take_word(self, word: str) -> bool:
        """Take a word and the space behind it, if it is next."""
        end = self._at + len(word)
        if self._text.startswith(word, self._at) and self._char(end) in _SPACE_SET:
            self._at = end
            self._skip()
            return True
        return False

    def _next_word(self, *, spaced: bool = True) -> str:
        """Take the next lower-case word with its space; "" when there is none."""
        found = _WORD.match(self._text, self._at)
        if found is None:
            return ""
        if spaced and self._char(found.end()) not in _SPACE_SET:
            return ""
        self._at = found.end()
        if spaced:
            self._skip()
        return found.group()

    def _selector(self) -> tuple[str, ...] | None:
        found = _IDENT.match(self._text, self._at)
        if found is None:
            return None
        path = [found.group()]
        self._at = found.end()
        while True:
            if self._char() == ".":
                found = _IDENT.match(self._text, self._at + 1)
                if found is None:
                    self._at += 1
                    raise self._fail("[a-zA-Z]")
                path.append(found.group())
                self._at = found.end()
            elif self._char() == "[":
                self._at += 1
                self._skip()
                path.append(self._string())
                self._skip()
                if self._char() != "]":
                    raise self._fail('"]"')
                self._at += 1
            else:
                return tuple(path)

    def _string(self) -> str:
        found = _QUOTED.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
            return re.sub(
                r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), found.group(1), flags=re.DOTALL
            )
        found = _RAW.match(self._text, self._at)
        if found is None:
            if self._char() in {'"', "`"}:
                raise FilterError(f'{self._where()}: rule "string": Unterminated string literal')
            raise self._fail('"\\"" or "`"')
        self._at = found.end()
        return found.group(1)

    def _value(self, expected: str) -> str:
        if self._char() in {'"', "`"}:
            return self._string()
        start = self._at
        found = _NUMBER.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
            if _IDENT.match(self._text, self._at):
                raise FilterError(f'{self._where()}: rule "number": Invalid number literal')
            return found.group()
        if self._selector() is None:
            raise self._fail(expected)
        return self._text[start : self._at]

    # -- small steps ------------------------------------------------------------------------------

    def _char(self, at: int | None = None) -> str:
        at = self._at if at is None else at
        return self._text[at] if at < len(self._text) else ""

    def _skip(self) -> bool:
        start = self._at
        while self._char() in _SPACE_SET:
            self._at += 1
        return self._at > start

    def _where(self) -> str:
        line = self._text.count("\n", 0, self._at) + 1
        column = self._at - (self._text.rfind("\n", 0, self._at) + 1) + 1
        return f"{line}:{column} ({self._at})"

    def _fail(self, expected: str) -> FilterError:
        return FilterError(f"{self._where()}: no match found, expected: {expected}")

    # -- meaning ----------------------------------------------------------------------------------

    def _build(self, path: tuple[str, ...], operator: Operator, value: str | None) -> Predicate:
        field = self._root
        steps: list[tuple[str, Kind]] = []
        for name in path:
            steps.append((name, field.kind))
            found = field.child(name)
            if found is None:
                raise FilterError(f'Selector "{".".join(path)}" is not valid')
            field = found
        if field.kind is Kind.OBJECT:
            raise FilterError(f'Selector "{".".join(path)}" is not valid')
        if operator not in _ALLOWED[field.kind]:
            raise FilterError(
                f'Invalid match operator "{operator.word}" for selector "{".".join(path)}"'
            )
        return _walk(steps, 0, _test(field.kind, operator, value, ".".join(path)), operator.negated)


_SPACE_SET = frozenset(_SPACE)


def _walk(steps: list[tuple[str, Kind]], at: int, test: Predicate, negated: bool) -> Predicate:
    """A function that follows the path and applies the test where it ends.

    A list of objects on the way matches when any element does. A key that a map does not have
    gives no match, and satisfies the negated operators. A field that the JSON leaves out is empty.
    """
    if at == len(steps):
        return test
    name, kind = steps[at]
    below = _walk(steps, at + 1, test, negated)
    if kind is Kind.OBJECTS:
        return lambda value: any(below(item.get(name)) for item in value or ())
    if kind is Kind.MAP:
        return lambda value: below(value[name]) if value and name in value else negated
    return lambda value: below(value.get(name) if value else None)


def _test(kind: Kind, operator: Operator, value: str | None, selector: str) -> Predicate:
    if operator is EMPTY:
        return lambda found: not found
    if operator is NOT_EMPTY:
        return bool
    assert value is not None, "only emptiness has no value"
    if operator in {EQUAL, NOT_EQUAL}:
        return _equality(kind, operator, value, selector)
    if operator in {IN, NOT_IN}:
        inside = operator is IN
        nothing: str | tuple[str, ...] = "" if kind is Kind.STRING else ()
        return lambda found: (value in (found or nothing)) is inside
    try:
        pattern = patterns.compile_pattern(value)
    except patterns.PatternError as error:
        raise FilterError(f'Failed to compile regular expression "{value}": {error}') from None
    if operator is MATCHES:
        return lambda found: pattern.search(found or "")
    return lambda found: not pattern.search(found or "")


def _equality(kind: Kind, operator: Operator, value: str, selector: str) -> Predicate:
    same = operator is EQUAL
    if kind is Kind.STRING:
        return lambda found: ((found or "") == value) is same
    try:
        wanted = _integer(value) if kind is Kind.INTEGER else _boolean(value)
    except FilterError as error:
        raise FilterError(
            f'Failed to coerce value "{value}" for selector "{selector}": {error}'
        ) from None
    return lambda found: ((found or 0) == wanted) is same


def _integer(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]+", text):
        raise FilterError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    number = int(text) if len(text) <= 20 else 1 << 64
    if not -(1 << 63) <= number < 1 << 63:
        raise FilterError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return number


def _boolean(text: str) -> bool:
    if text in {"1", "t", "T", "TRUE", "true", "True"}:
        return True
    if text in {"0", "f", "F", "FALSE", "false", "False"}:
        return False
    raise FilterError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
