"""Rules of the time before prefixes into today's: every name was a prefix (contract 19, legacy)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agent.acl.hcl_rules import HclError, Item, parse
from agent.acl.rules import NAMED, RulesError


def translate(text: str) -> str:
    """The rules as HCL in its usual layout. Raises RulesError."""
    try:
        items = parse(text)
    except HclError as error:
        raise RulesError(f"Failed to parse ACL rules: {error}") from None
    return _all([_modern(item) for item in items], 0)


def _modern(item: Item) -> Item:
    kind, *names = item.keys
    if kind in NAMED:
        return replace(item, keys=(f"{kind}_prefix", *names))
    return item


def _all(items: Sequence[Item], depth: int) -> str:
    """Values on lines that followed each other stay together, in a column; the rest apart."""
    groups: list[list[Item]] = []
    for item in items:
        last = groups[-1][-1] if groups else None
        if (
            last is not None
            and item.line == last.line + 1
            and not item.comments
            and not isinstance(item.value, tuple)
            and not isinstance(last.value, tuple)
        ):
            groups[-1].append(item)
        else:
            groups.append([item])
    return "\n\n".join(
        "\n".join(_shown(item, depth, max(map(_width, group))) for item in group)
        for group in groups
    )


def _head(item: Item) -> str:
    return " ".join([item.keys[0], *(f'"{key}"' for key in item.keys[1:])])


def _width(item: Item) -> int:
    return len(_head(item))


def _shown(item: Item, depth: int, width: int) -> str:
    pad, head = "  " * depth, _head(item)
    comments = "".join(f"{pad}{comment}\n" for comment in item.comments)
    if isinstance(item.value, tuple):
        inner = _all(item.value, depth + 1)
        body = f"{{\n{inner}\n{pad}}}" if inner else "{}"
        return f"{comments}{pad}{head} {body}"
    return f"{comments}{pad}{head:<{width}} = {_literal(item.value)}"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_literal(each) for each in value) + "]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    return str(value)
