"""What a UUID is, and what clients are told of a text that is none."""

from __future__ import annotations

import re

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NO_DIGIT = re.compile(rb"[^0-9a-fA-F]")
_LENGTH = 36
_HYPHENS_MAX = 4


def uuid_problem(text: str) -> str:
    """Why a text is no UUID, in the words of Consul's index; "" when it is one."""
    return lookup_problem(text) or ("" if _UUID.fullmatch(text) else "index error: Invalid UUID")


def lookup_problem(text: str) -> str:
    """Why nothing can be looked up under a text, in the words of Consul's index; "" when it can.

    The index wants 36 bytes of hexadecimal digits and at most 4 hyphens, wherever they stand. Old
    clients ask for 36 ones when they mean something absent, and expect to hear that it is absent.
    """
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) != _LENGTH:
        return "index error: UUID must be 36 characters"
    hyphens = raw.count(b"-")
    if hyphens > _HYPHENS_MAX:
        return f'index error: UUID should have maximum of {_HYPHENS_MAX} "-"; got {hyphens}'
    if (_LENGTH - hyphens) % 2:
        return "index error: Input (without hyphens) must be even length"
    odd = _NO_DIGIT.search(raw.replace(b"-", b""))
    if odd is None:
        return ""
    return f"index error: Invalid UUID: encoding/hex: invalid byte: {_named(odd.group()[0])}"


def _named(byte: int) -> str:
    """A byte as a code point with its character, as Go prints it; without when it has no look."""
    shown = chr(byte)
    return f"U+{byte:04X} '{shown}'" if shown.isprintable() else f"U+{byte:04X}"
