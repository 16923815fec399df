"""The repository's own files, each read and parsed once for all rules."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("agent", "raftstore", "gossip", "proxy")


@functools.cache
def text(path: Path) -> str:
    """What a file says."""
    return path.read_text()


@functools.cache
def tree(path: Path) -> ast.Module:
    """A module's syntax; not to be changed."""
    return ast.parse(text(path))


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All of a module's syntax, as ``ast.walk`` gives it."""
    return tuple(ast.walk(tree(path)))


@functools.cache
def modules() -> frozenset[str]:
    """All modules of the four packages, as paths from the root."""
    found = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    ]
    assert found
    return frozenset(found)
