"""`${…}` in the texts of a template: the part of HashiCorp's HIL that templates need.

Outside of `${…}` a text is itself, `$${` stands for `${`. Inside: names with dots, whole numbers,
quoted texts (which may hold `${…}` again), calls, `+ - * / %` over whole numbers, parentheses.
Parsing and evaluating are bounded in depth, results in length.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

#: Parentheses, calls and quoted texts within each other.
DEPTH_MAX = 16
#: Characters of a result.
RESULT_MAX = 4096
_DIGITS_MAX = 18

_SPACE = re.compile(r"[ \t\r\n]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_*-]+)*")
_NUMBER = re.compile(r"[0-9]+")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


class InterpolationError(ValueError):
    """The text cannot be read, or what it says cannot be done."""


Value = str | int
Function = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Scope:
    """What names mean. Functions take one whole number."""

    variables: Mapping[str, str]
    functions: Mapping[str, Function]


#: A part of a text: evaluated in a scope it is a text or a number.
Node = Callable[[Scope], Value]


class Interpolated:
    """A text that was read."""

    __slots__ = ("_node",)

    def __init__(self, text: str) -> None:
        """Raises InterpolationError."""
        self._node = _Parser(text).whole()

    def render(self, scope: Scope) -> str:
        """What the text is in a scope. Raises InterpolationError."""
        return str(self._node(scope))


def _joined(parts: list[Node]) -> Node:
    def join(scope: Scope) -> Value:
        text = ""
        for part in parts:
            text += str(part(scope))
            if len(text) > RESULT_MAX:
                raise InterpolationError(f"the result is longer than {RESULT_MAX} characters")
        return text

    return join


def _constant(value: Value) -> Node:
    return lambda scope: value


def _variable(name: str) -> Node:
    def look_up(scope: Scope) -> Value:
        if name not in scope.variables:
            raise InterpolationError(f"unknown variable accessed: {name}")
        return scope.variables[name]

    return look_up


def _call(name: str, arguments: list[Node]) -> Node:
    def call(scope: Scope) -> Value:
        function = scope.functions.get(name)
        if function is None:
            raise InterpolationError(f"unknown function called: {name}")
        if len(arguments) != 1:
            raise InterpolationError(f"{name}: expected 1 arguments, got {len(arguments)}")
        return function(_whole(arguments[0](scope)))

    return call


def _whole(value: Value) -> int:
    if isinstance(value, int):
        return value
    try:
        return int(value) if len(value) <= _DIGITS_MAX else 0
    except ValueError:
        raise InterpolationError(f"{value!r} is no whole number") from None


def _towards_zero(left: int, right: int) -> int:
    if right == 0:
        raise InterpolationError("divide by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) is (right < 0) else -quotient


_SUMS: Mapping[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub}
_PRODUCTS: Mapping[str, Callable[[int, int], int]] = {
    "*": operator.mul,
    "/": _towards_zero,
    "%": lambda left, right: left - right * _towards_zero(left, right),
}


def _calculation(left: Node, right: Node, do: Callable[[int, int], int]) -> Node:
    def calculate(scope: Scope) -> Value:
        result = do(_whole(left(scope)), _whole(right(scope)))
        if abs(result) >= 1 << 63:
            raise InterpolationError("a number is too large")
        return result

    return calculate


class _Parser:
    """Reads one text from left to right."""

    __slots__ = ("_at", "_depth", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        """The whole text."""
        return self._literal(quoted=False)

    def _literal(self, *, quoted: bool) -> Node:
        """Text with interpolations, up to the end or to the quotation mark."""
        parts: list[Node] = []
        plain = ""
        while self._at < len(self._text):
            char = self._text[self._at]
            if self._text.startswith("$${", self._at):
                plain += "${"
                self._at += 3
            elif self._text.startswith("${", self._at):
                parts += [_constant(plain), self._braces()]
                plain = ""
            elif quoted and char == '"':
                break
            elif quoted and char == "\\":
                plain += self._escape()
            else:
                plain += char
                self._at += 1
        return _joined([*parts, _constant(plain)])

    def _escape(self) -> str:
        found = _ESCAPES.get(self._text[self._at + 1 : self._at + 2])
        if found is None:
            raise self._error("invalid escape sequence")
        self._at += 2
        return found

    def _braces(self) -> Node:
        self._at += 2
        node = self._nested(self._sum)
        self._expect("}")
        return node

    def _nested(self, read: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._error("nested too deeply")
        node = read()
        self._depth -= 1
        return node

    def _sum(self) -> Node:
        return self._chain(self._product, _SUMS)

    def _product(self) -> Node:
        return self._chain(self._term, _PRODUCTS)

    def _chain(self, read: Callable[[], Node], ways: Mapping[str, Callable[..., int]]) -> Node:
        node = read()
        steps = 0
        while (sign := self._peek()) in ways:
            steps += 1
            if steps > DEPTH_MAX:
                raise self._error("nested too deeply")
            self._at += 1
            node = _calculation(node, read(), ways[sign])
        return node

    def _term(self) -> Node:
        char = self._peek()
        if char == "-":
            self._at += 1
            return _calculation(_constant(0), self._nested(self._term), operator.sub)
        if char == "(":
            self._at += 1
            node = self._nested(self._sum)
            self._expect(")")
            return node
        if char == '"':
            self._at += 1
            node = self._nested(lambda: self._literal(quoted=True))
            self._expect('"')
            return node
        found = _NUMBER.match(self._text, self._at)
        if found is not None:
            if len(found.group()) > _DIGITS_MAX:
                raise self._error("a number is too large")
            self._at = found.end()
            return _constant(int(found.group()))
        return self._name()

    def _name(self) -> Node:
        found = _NAME.match(self._text, self._at)
        if found is None:
            raise self._error("expected expression")
        self._at = found.end()
        if self._peek() != "(":
            return _variable(found.group())
        self._at += 1
        arguments: list[Node] = []
        while self._peek() != ")":
            arguments.append(self._nested(self._sum))
            if self._peek() != ",":
                break
            self._at += 1
        self._expect(")")
        return _call(found.group(), arguments)

    def _peek(self) -> str:
        """The next character that is no space, "" at the end."""
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._text[self._at : self._at + 1]

    def _expect(self, char: str) -> None:
        if self._text[self._at : self._at + 1] != char and self._peek() != char:
            raise self._error(f'expected "{char}"')
        self._at += 1

    def _error(self, what: str) -> InterpolationError:
        line = self._text.count("\n", 0, self._at) + 1
        column = self._at - (self._text.rfind("\n", 0, self._at) + 1) + 1
        shown = self._text[self._at : self._at + 1]
        but = f' but found "{shown}"' if shown else " but reached the end"
        return InterpolationError(f"parse error at {line}:{column}: {what}{but}")
