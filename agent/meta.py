"""What metadata may look like: of services, of nodes, and in what prepared queries ask for.

The limits are Consul's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

META_PAIRS_MAX = 64
META_KEY_MAX = 128
META_VALUE_MAX = 512
_META_KEY = re.compile(r"[a-zA-Z0-9_-]+")


def meta_problem(meta: Mapping[str, str], *, reserved: bool = False) -> str | None:
    """Why these pairs cannot be taken; ``reserved`` allows keys that belong to Consul."""
    if len(meta) > META_PAIRS_MAX:
        return f"Node metadata cannot contain more than {META_PAIRS_MAX} key/value pairs"
    for key, value in meta.items():
        problem = _pair_problem(key, value, reserved=reserved)
        if problem:
            return f"Couldn't load metadata pair ('{key}', '{value}'): {problem}"
    return None


def _pair_problem(key: str, value: str, *, reserved: bool) -> str | None:
    if not key:
        return "Key cannot be blank"
    if _META_KEY.fullmatch(key) is None:
        return "Key contains invalid characters"
    if len(key) > META_KEY_MAX:
        return f"Key is too long (limit: {META_KEY_MAX} characters)"
    if key.startswith("consul-") and not reserved:
        return "Key prefix 'consul-' is reserved for internal use"
    if len(value) > META_VALUE_MAX:
        return f"Value is too long (limit: {META_VALUE_MAX} characters)"
    return None
