"""The text of ACL rules as a tree: HCL 1 as clients write it, with the error texts they know.

Its own small reader beside agent/config/hcl.py: a policy must be read within a millisecond while
requests wait, and its errors name the position and the token as HCL 1's parser does. Decides
nothing about rules.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

#: Nesting of brackets that is read.
DEPTH_MAX = 32

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | (?P<comment>\#[^\n]*|//[^\n]*|/\*[\s\S]*?\*/)
  | (?P<heredoc><<(?P<dash>-?)(?P<mark>\w+)\r?\n(?P<body>(?:[^\n]*\n)*?)[ \t]*(?P=mark)(?=\n|\Z))
  | (?P<STRING>"(?:[^"\\\n]|\\.)*")
  | (?P<FLOAT>-?\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+))
  | (?P<NUMBER>-?(?:0[xX][0-9a-fA-F]+|\d+))
  | (?P<IDENT>[^\W\d][\w.-]*)
  | (?P<punctuation>[=\{\}\[\],])
    """,
    re.VERBOSE,
)
_NAMES = {
    "=": "ASSIGN",
    "{": "LBRACE",
    "}": "RBRACE",
    "[": "LBRACK",
    "]": "RBRACK",
    ",": "COMMA",
}
_LITERALS = frozenset({"STRING", "NUMBER", "FLOAT", "BOOL", "HEREDOC"})
_OPEN_ENDED = frozenset({"IDENT", "NUMBER", "FLOAT", "comment"})
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|[0-7]{3}|.)")
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class HclError(ValueError):
    """The text is no HCL; says where."""


@dataclass(frozen=True, slots=True)
class Item:
    """`KEY KEY… = VALUE` or `KEY KEY… { … }`; a value is a str, int, float, bool, list of values,
    or a tuple of items. ``line`` is where it begins, ``comments`` are those before it."""

    keys: tuple[str, ...]
    value: Any
    line: int = 0
    comments: tuple[str, ...] = ()


class _Token(NamedTuple):
    kind: str
    text: str
    position: str
    comments: tuple[str, ...] = ()


def _fail(token: _Token, words: str) -> HclError:
    return HclError(f"At {token.position}: {words}")


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    comments: list[str] = []
    at, line, start, kind = 0, 1, 0, ""
    while at < len(text):
        match = _TOKEN.match(text, at)
        position = f"{line}:{at - start + 1}"
        if match is None:
            if text[at] == '"':
                raise HclError(f"At {position}: literal not terminated")
            if text.startswith("/*", at):
                raise HclError(f"At {position}: comment not terminated")
            if text.startswith("<<", at):
                raise HclError(f"At {position}: heredoc not terminated")
            tokens.append(_Token("ILLEGAL", text[at], position))
            return tokens
        kind, word = str(match.lastgroup), match.group()
        if kind == "comment":
            comments.append(word.rstrip())
        elif kind != "space":
            tokens.append(_token(kind, match, position, comments))
            comments = []
        lines = word.count("\n")
        if lines:
            line += lines
            start = at + word.rindex("\n") + 1
        at = match.end()
    # The reference's scanner has looked beyond the end already where only that ends a word.
    beyond = 2 if kind in _OPEN_ENDED else 1
    tokens.append(_Token("EOF", "", f"{line}:{at - start + beyond}"))
    return tokens


def _token(kind: str, match: re.Match[str], position: str, comments: list[str]) -> _Token:
    word = match.group()
    if match["heredoc"] is not None:
        return _Token("HEREDOC", match["body"], position)
    if kind == "punctuation":
        return _Token(_NAMES[word], word, position)
    if kind == "IDENT" and word in {"true", "false"}:
        return _Token("BOOL", word, position)
    return _Token(kind, word, position, tuple(comments))


def _unquoted(token: _Token) -> str:
    def character(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "uUx" and len(code) > 1:
            number = int(code[1:], 16)
        elif len(code) == 3:
            number = int(code, 8)
        else:
            return _SIMPLE.get(code, code)
        # A lone surrogate can neither be stored nor sent.
        usable = number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF
        return chr(number) if usable else "\ufffd"

    inner = token.text[1:-1]
    return _ESCAPE.sub(character, inner) if "\\" in inner else inner


class _Parser:
    """One pass over the tokens of a text."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def _next(self) -> _Token:
        token = self._tokens[min(self._at, len(self._tokens) - 1)]
        self._at += 1
        return token

    def _peek(self) -> _Token:
        return self._tokens[min(self._at, len(self._tokens) - 1)]

    def items(self, depth: int, *, braces: bool) -> tuple[Item, ...]:
        """Items up to the closing brace, or to the end of the text."""
        found: list[Item] = []
        if depth > DEPTH_MAX:
            raise _fail(self._peek(), "nested too deeply")
        while True:
            token = self._peek()
            if token.kind == "EOF":
                if braces:
                    raise _fail(token, "object expected closing RBRACE got: EOF")
                return tuple(found)
            if token.kind == "RBRACE" and braces:
                self._next()
                return tuple(found)
            found.append(self._item(depth))
            if self._peek().kind == "COMMA":
                self._next()

    def _item(self, depth: int) -> Item:
        keys: list[str] = []
        first = self._peek()
        line = int(first.position.partition(":")[0])
        shown: list[str] = []
        while (token := self._next()).kind in {"IDENT", "STRING"}:
            keys.append(_unquoted(token) if token.kind == "STRING" else token.text)
            shown.append(token.text)
        if token.kind == "ASSIGN":
            if len(keys) > 1:
                raise _fail(token, "nested object expected: LBRACE got: ASSIGN")
            if not keys:
                raise _fail(token, "no object keys found!")
            return Item(tuple(keys), self._value(depth), line, first.comments)
        if token.kind == "LBRACE":
            if not keys:
                raise _fail(token, "expected: IDENT | STRING got: LBRACE")
            return Item(tuple(keys), self.items(depth + 1, braces=True), line, first.comments)
        if token.kind == "ILLEGAL":
            raise _fail(token, "illegal character")
        if keys and token.kind in {"EOF", "RBRACE"}:
            words = f"key '{' '.join(shown)}' expected start of object ('{{') or assignment ('=')"
            raise _fail(token, words)
        words = f"expected: IDENT | STRING | ASSIGN | LBRACE got: {token.kind}"
        raise _fail(token, words)

    def _value(self, depth: int) -> Any:
        token = self._next()
        if token.kind in _LITERALS:
            return _literal(token)
        if token.kind == "LBRACE":
            return self.items(depth + 1, braces=True)
        if token.kind == "LBRACK":
            return self._list(depth + 1)
        raise _fail(token, f"Unknown token: {token.position} {token.kind} {token.text}".rstrip())

    def _list(self, depth: int) -> list[Any]:
        found: list[Any] = []
        if depth > DEPTH_MAX:
            raise _fail(self._peek(), "nested too deeply")
        need_comma = False
        while True:
            token = self._next()
            if token.kind == "RBRACK":
                return found
            if need_comma and token.kind != "COMMA":
                words = f"error parsing list, expected comma or list end, got: {token.kind}"
                raise _fail(token, words)
            need_comma = token.kind != "COMMA"
            if token.kind in _LITERALS:
                found.append(_literal(token))
            elif token.kind == "LBRACE":
                found.append(self.items(depth + 1, braces=True))
            elif token.kind == "LBRACK":
                found.append(self._list(depth + 1))
            elif token.kind != "COMMA":
                raise _fail(token, f"unexpected token while parsing list: {token.kind}")


def _literal(token: _Token) -> str | int | float | bool:
    if token.kind == "STRING":
        return _unquoted(token)
    if token.kind == "BOOL":
        return token.text == "true"
    if token.kind == "NUMBER":
        return int(token.text, 0) if "x" in token.text.lower() else int(token.text)
    return float(token.text) if token.kind == "FLOAT" else token.text


def parse(text: str) -> tuple[Item, ...]:
    """The items of a text. Raises HclError."""
    try:
        return _Parser(_tokens(text)).items(0, braces=False)
    except HclError:
        raise
    except ValueError:  # a number with more digits than int() reads
        raise HclError("a number has too many digits") from None
