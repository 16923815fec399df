"""What a row of the table of keys is, and short ways to write one (see `agent.config.keys`)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from agent.config.definition_keys import Kind, Shape

STRING, BOOL, INT, FLOAT = Kind.STRING, Kind.BOOL, Kind.INT, Kind.FLOAT
DURATION, STRINGS, STRING_MAP = Kind.DURATION, Kind.STRINGS, Kind.STRING_MAP
DURATION_MAP, OPAQUE, OPAQUES = Kind.DURATION_MAP, Kind.OPAQUE, Kind.OPAQUES


class Standing(enum.Enum):
    """What becomes of a key that a user sets."""

    #: It fills a field of the configuration.
    NOW = "now"
    #: Part of the contract, not built yet: accepted, and a warning when it asks for something.
    LATER = "later"
    #: Accepted without effect for good; ``note`` is the warning, "" means without a word. Of a
    #: LATER key it is the reason.
    IGNORED = "ignored"
    #: An error; ``note`` is its text.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One row. ``target`` is a field such as "node_name" or "dns.node_ttl_s"; "" where agent/
    config/build.py works the field out from several keys. ``default`` counts for LATER and REFUSED
    keys only: setting a key to it asks for nothing."""

    path: str
    kind: Kind | Shape
    standing: Standing = Standing.NOW
    target: str = ""
    default: Any = None
    note: str = ""
    #: A number or duration of 0 leaves no working agent and is refused.
    positive: bool = False
    #: A number below 0 means something of its own; elsewhere it is refused.
    signed: bool = False
    #: A reload takes a new value over; all other keys wait for a restart.
    live: bool = False


def now(
    path: str,
    kind: Kind | Shape,
    target: str = "",
    *,
    positive: bool = False,
    signed: bool = False,
    live: bool = False,
) -> Key:
    """A key that counts."""
    return Key(path=path, kind=kind, target=target, positive=positive, signed=signed, live=live)


def later(path: str, kind: Kind | Shape, default: Any = None, note: str = "") -> Key:
    """A key of the contract whose feature is missing; a value other than its default warns, with
    ``note`` as the reason."""
    return Key(path=path, kind=kind, standing=Standing.LATER, default=default, note=note)


def ignored(path: str, kind: Kind | Shape, note: str = "") -> Key:
    """A key that is accepted for good and does nothing."""
    return Key(path=path, kind=kind, standing=Standing.IGNORED, note=note)


def refused(path: str, kind: Kind | Shape, note: str, default: Any = None) -> Key:
    """A key that asks for what would break a promise; its default is no such wish."""
    return Key(path=path, kind=kind, standing=Standing.REFUSED, note=note, default=default)


def enterprise(path: str, kind: Kind | Shape) -> Key:
    """A key of Consul Enterprise without a meaning here."""
    top = path.split(".")[0]
    note = f'"{top}" is a Consul Enterprise configuration and will have no effect'
    return ignored(path, kind, note)
