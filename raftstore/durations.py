"""Go's duration strings, the form in which Consul takes and shows every duration.

Inside lictor durations are float seconds. Source: Go's ``time.ParseDuration`` and
``Duration.String`` (formats only).
"""

from __future__ import annotations

import re

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_UNIT = re.compile(r"[^\d.]+")
_TEXT_MAX = 128


class DurationError(ValueError):
    """The text is no duration; the message is the one Go's parser gives."""


def parse_ns(text: str) -> int:
    """Nanoseconds of a text such as "1h5m0s", "150ms" or "-1.5s"; "0" needs no unit."""
    body = text[1:] if text[:1] in {"-", "+"} else text
    if body == "0":
        return 0
    if not body or len(body) > _TEXT_MAX:
        raise DurationError(f'time: invalid duration "{text}"')
    total, position = 0, 0
    while position < len(body):
        number = _NUMBER.match(body, position)
        if number is None:
            raise DurationError(f'time: invalid duration "{text}"')
        unit = _UNIT.match(body, number.end())
        if unit is None:
            raise DurationError(f'time: missing unit in duration "{text}"')
        scale = _UNITS_NS.get(unit.group())
        if scale is None:
            raise DurationError(f'time: unknown unit "{unit.group()}" in duration "{text}"')
        whole, _, fraction = number.group().partition(".")
        total += int(whole or "0") * scale
        if fraction:
            total += int(fraction) * scale // 10 ** len(fraction)
        position = unit.end()
    if total >= 1 << 63:
        raise DurationError(f'time: invalid duration "{text}"')
    return -total if text[0] == "-" else total


def parse_s(text: str) -> float:
    """Seconds of a duration text."""
    return parse_ns(text) / 1e9


def format_ns(nanoseconds: int) -> str:
    """The text Go prints: "1h5m0s", "1.5s", "150ms", "0s"."""
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest == 0:
        return "0s"
    if rest < 1_000_000_000:
        for unit, scale in (("ms", 1_000_000), ("µs", 1_000), ("ns", 1)):
            if rest >= scale:
                return f"{sign}{_decimal(rest, scale)}{unit}"
    seconds = f"{_decimal(rest % 60_000_000_000, 1_000_000_000)}s"
    minutes = rest // 60_000_000_000
    if minutes == 0:
        return sign + seconds
    if minutes < 60:
        return f"{sign}{minutes}m{seconds}"
    return f"{sign}{minutes // 60}h{minutes % 60}m{seconds}"


def format_s(seconds: float) -> str:
    """The text Go prints for a number of seconds."""
    return format_ns(round(seconds * 1e9))


def _decimal(value: int, scale: int) -> str:
    whole, fraction = divmod(value, scale)
    if not fraction:
        return str(whole)
    digits = len(str(scale)) - 1
    return f"{whole}.{str(fraction).zfill(digits).rstrip('0')}"
