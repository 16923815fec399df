"""Bounds of a sidecar by name, as whoever runs it gives them. Pure.

A name is a field of `ProxyConfig`, or with a prefix one of its parts: ``http.`` (HttpLimits),
``http2.`` and ``http2.rates.`` (what one connection of HTTP/2 may take), ``tunnel.``
(TunnelLimits). Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from proxy.config import ProxyConfig

_PARTS = {"http_limits": "http", "http.http2": "http2", "http2.rates": "http2.rates",
          "tunnel_limits": "tunnel"}  # fmt: skip
#: No bounds, though numbers.
_OTHERS = frozenset({"workers", "worker"})


class UnknownBound(ValueError):
    """There is no such bound, or not of such a value; the text says which."""


def named(config: ProxyConfig) -> Mapping[str, float]:
    """All bounds and their values."""
    return dict(_walk(config, ""))


def bounded(config: ProxyConfig, given: Mapping[str, float]) -> ProxyConfig:
    """The configuration with other bounds. Raises UnknownBound."""
    known = named(config)
    for name, value in given.items():
        if name not in known:
            raise UnknownBound(f'there is no bound "{name}"')
        if not math.isfinite(value) or value < 0:
            raise UnknownBound(f"{name} must not be less than 0, nor without end, but is {value:g}")
        if isinstance(known[name], int) and value != int(value):
            raise UnknownBound(f"{name} must be a whole number, not {value:g}")
    changed = {name: type(known[name])(value) for name, value in given.items()}
    made = _changed(config, "", changed)
    assert isinstance(made, ProxyConfig)
    return made


def read(text: str) -> tuple[str, float]:
    """``name=value``. Raises UnknownBound."""
    name, equals, value = text.partition("=")
    try:
        return name.strip(), float(value if equals else "none")
    except ValueError as error:
        raise UnknownBound(f'a bound is given as "name=number", not "{text}"') from error


def flat(given: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Names of parts may be maps of their own: ``{"http": {"head_timeout_s": 5}}``. Raises
    UnknownBound."""
    found: dict[str, float] = {}
    for key, value in given.items():
        name = prefix + key.strip('"')
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping):
            value = value[0]  # HCL's block
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        elif type(value) in (int, float):
            found[name] = value
        else:
            raise UnknownBound(f"{name} must be a number, not {value!r}")
    return found


def _place(prefix: str, name: str) -> str:
    """What begins the names of a part; "" for what is none."""
    return _PARTS.get(f"{prefix}.{name}" if prefix else name, "")


def _walk(part: Any, prefix: str) -> Iterator[tuple[str, float]]:
    for each in fields(part):
        value, below = getattr(part, each.name), _place(prefix, each.name)
        if below:
            yield from _walk(value, below)
        elif type(value) in (int, float) and each.name not in _OTHERS:
            yield (f"{prefix}.{each.name}" if prefix else each.name), value


def _changed(part: Any, prefix: str, given: Mapping[str, float]) -> Any:
    new: dict[str, Any] = {}
    for each in fields(part):
        below, name = _place(prefix, each.name), f"{prefix}.{each.name}" if prefix else each.name
        if below:
            new[each.name] = _changed(getattr(part, each.name), below, given)
        elif name in given:
            new[each.name] = given[name]
    return replace(part, **new)
