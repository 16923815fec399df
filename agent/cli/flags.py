"""Command line flags with the semantics of Go's flag package (cli-config contract, A1).

One or two dashes alike, ``-flag value`` or ``-flag=value``, booleans ``-x`` and ``-x=false``; flags
end at the first other word or at ``--`` (but for commands of our own that take them anywhere);
repeated lists add up. Error texts are those that
Consul's users know. Pure.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agent.durations import DurationError, parse_ns

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]*|[1-9][0-9]*)")
_INT_MAX, _UINT_MAX = (1 << 63) - 1, (1 << 64) - 1


class Kind(enum.Enum):
    """The types of flags; the value is the word that help prints."""

    STRING = "value"
    BOOL = ""
    INT = "int"
    UINT = "uint"
    #: As UINT and as a duration, with the errors of Go's parsers instead of its flag package's.
    COUNT = "number"
    DURATION = "duration"
    #: May be given several times.
    LIST = "value..."
    #: ``key=value``, may be given several times.
    MAP = "key=value"


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag that a command knows."""

    name: str
    help: str
    kind: Kind = Kind.STRING
    default: Any = None


class FlagError(ValueError):
    """The command line cannot be read; the text is for the user."""


class HelpWanted(Exception):
    """-h, -help or --help was given."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What was given. ``given`` keeps order and repetition."""

    values: dict[str, Any]
    given: tuple[tuple[str, Any], ...]
    rest: tuple[str, ...]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def text(self, name: str) -> str:
        """The value of a string flag, "" when it was not given."""
        return str(self.values.get(name) or "")

    def was_given(self, name: str) -> bool:
        """Whether the user wrote the flag, whatever its value."""
        return any(each == name for each, _ in self.given)


def parse(flags: Iterable[Flag], words: Sequence[str], *, anywhere: bool = False) -> Parsed:
    """Read flags and what follows them; ``anywhere``: and what stands between them.

    Raises FlagError or HelpWanted.
    """
    known = {flag.name: flag for flag in flags}
    values: dict[str, Any] = {name: _start(flag) for name, flag in known.items()}
    given: list[tuple[str, Any]] = []
    between: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        if len(word) < 2 or not word.startswith("-"):
            if not anywhere:
                break
            between.append(word)
            position += 1
            continue
        position += 1
        if word == "--":
            break
        bare = word[2:] if word.startswith("--") else word[1:]
        if not bare or bare[0] in "-=":
            raise FlagError(f"bad flag syntax: {word}")
        name, equals, text = bare.partition("=")
        flag = known.get(name)
        if flag is None:
            if name in {"h", "help"}:
                raise HelpWanted
            raise FlagError(f"flag provided but not defined: -{name}")
        if flag.kind is Kind.BOOL:
            value: Any = _boolean(name, text) if equals else True
        else:
            if not equals:
                if position == len(words):
                    raise FlagError(f"flag needs an argument: -{name}")
                text = words[position]
                position += 1
            value = _value(flag, text)
        given.append((name, value))
        _keep(values, flag, value)
    return Parsed(values, tuple(given), (*between, *words[position:]))


def parse_bool(text: str) -> bool | None:
    """What Go's strconv.ParseBool says; None for anything else."""
    if text in _TRUE:
        return True
    return False if text in _FALSE else None


def _start(flag: Flag) -> Any:
    if flag.kind is Kind.LIST:
        return []
    if flag.kind is Kind.MAP:
        return {}
    if flag.default is None and flag.kind is Kind.BOOL:
        return False
    if flag.default is None and flag.kind in {Kind.INT, Kind.UINT, Kind.COUNT}:
        return 0
    return "" if flag.default is None else flag.default


def _keep(values: dict[str, Any], flag: Flag, value: Any) -> None:
    if flag.kind is Kind.LIST:
        values[flag.name].append(value)
    elif flag.kind is Kind.MAP:
        values[flag.name].update([value])
    else:
        values[flag.name] = value


def _boolean(name: str, text: str) -> bool:
    value = parse_bool(text)
    if value is None:
        raise FlagError(f'invalid boolean value "{text}" for -{name}: parse error')
    return value


def _value(flag: Flag, text: str) -> Any:
    if flag.kind is Kind.MAP:
        key, equals, value = text.partition("=")
        if not equals:
            raise FlagError(
                f'invalid value "{text}" for flag -{flag.name}: '
                f'Missing "=" value in argument: {text}'
            )
        return (key, value)
    if flag.kind in {Kind.INT, Kind.UINT}:
        return _integer(flag, text)
    if flag.kind is Kind.COUNT:
        return _count(flag, text)
    if flag.kind is Kind.DURATION:
        _check_duration(flag, text)
    return text


def _count(flag: Flag, text: str) -> int:
    reason = "invalid syntax"
    if _INTEGER.fullmatch(text) and text[0] not in "+-":
        try:
            return _integer(flag, text)
        except FlagError:
            reason = "value out of range"
    raise FlagError(
        f'invalid value "{text}" for flag -{flag.name}: strconv.ParseUint: parsing "{text}": '
        f"{reason}"
    )


def _check_duration(flag: Flag, text: str) -> None:
    try:
        parse_ns(text)
    except DurationError as error:
        raise FlagError(f'invalid value "{text}" for flag -{flag.name}: {error}') from None


def _integer(flag: Flag, text: str) -> int:
    if not _INTEGER.fullmatch(text) or (flag.kind is Kind.UINT and text[0] in "+-"):
        raise FlagError(f'invalid value "{text}" for flag -{flag.name}: parse error')
    digits = text.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    value = int(digits, 8 if octal else 0)
    value = -value if text[0] == "-" else value
    top = _UINT_MAX if flag.kind is Kind.UINT else _INT_MAX
    if not -_INT_MAX - 1 <= value <= top:
        raise FlagError(f'invalid value "{text}" for flag -{flag.name}: value out of range')
    return value
