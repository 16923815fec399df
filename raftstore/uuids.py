"""What a UUID is, and what clients are told of a text that is none."""

from __future__ import annotations

import re

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LENGTH = 36


def uuid_problem(text: str) -> str:
    """Why a text is no UUID, in the words of Consul's index; "" when it is one."""
    if len(text) != _LENGTH:
        return "index error: UUID must be 36 characters"
    return "" if _UUID.fullmatch(text) else "index error: Invalid UUID"
