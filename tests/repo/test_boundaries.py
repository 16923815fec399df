"""Every module is declared as a core or a shell, and a core stays free of I/O."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("agent", "raftstore", "gossip", "proxy")

#: Modules that own sockets, files, timers or tasks. Everything else is a core.
SHELLS = frozenset((Path(__file__).parent / "shells.txt").read_text().split())

#: What no core may import: the doors to the outside.
DOORS = frozenset(
    "asyncio socket ssl time os threading subprocess aiohttp pysyncobj select signal shutil "
    "tempfile concurrent multiprocessing uvloop lmdb logging".split()
)


def modules() -> list[str]:
    """All modules of the four packages, as paths from the root."""
    found = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    ]
    assert found
    return found


def imported(path: Path) -> set[str]:
    """Top-level names of everything a module imports at run time."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("module", [m for m in modules() if m not in SHELLS])
def test_a_core_imports_no_door_to_the_outside(module: str) -> None:
    doors = imported(ROOT / module) & DOORS
    assert not doors, f"{module} is a core but imports {sorted(doors)}; or list it in shells.txt"


def test_every_listed_shell_exists_and_is_needed() -> None:
    listed = set(SHELLS)
    assert listed <= set(modules()), sorted(listed - set(modules()))
    needless = {m for m in listed if not imported(ROOT / m) & DOORS}
    assert not needless, f"these import no door and are cores: {sorted(needless)}"


def test_only_the_engine_names_pysyncobj() -> None:
    users = {m for m in modules() if "pysyncobj" in imported(ROOT / m)}
    allowed = {m for m in users if m.startswith("raftstore/raft/")}
    assert users == allowed, sorted(users - allowed)
