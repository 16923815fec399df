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

#: Request handlers and commands have no door of their own, but stand on a shell that has: they
#: say what to ask and how to show it, and are tried through it.
FACES = ("agent/http/", "agent/cli/")
#: What may know a shell without being one: a package's front door, the program's entry, the engine
#: under simulation, the servant of calls that have been decoded already, and the runtime's hands
#: that make TLS and archives of the configuration.
FRONTS = frozenset(
    "agent/__main__.py agent/dns/__init__.py raftstore/raft/__init__.py gossip/__init__.py "
    "raftstore/raft/replica.py agent/backend/rpc/service.py agent/internal_tls.py "
    "agent/keeping.py".split()
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


def imported_modules(path: Path) -> set[str]:
    """Our modules that a module imports at run time, as paths from the root."""
    names: set[str] = set()
    for node in ast.walk(without_type_checking(ast.parse(path.read_text()))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    files = {f"{name.replace('.', '/')}.py" for name in names}
    return files & set(modules())


def without_type_checking(tree: ast.Module) -> ast.Module:
    """The module less what it imports for its annotations only."""

    class Pruned(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                return None
            return self.generic_visit(node)

    pruned = Pruned().visit(tree)
    assert isinstance(pruned, ast.Module)
    return pruned


CORES = [m for m in modules() if m not in SHELLS]


@pytest.mark.parametrize("module", CORES)
def test_a_core_imports_no_door_to_the_outside(module: str) -> None:
    doors = imported(ROOT / module) & DOORS
    assert not doors, f"{module} is a core but imports {sorted(doors)}; or list it in shells.txt"


@pytest.mark.parametrize(
    "module", [m for m in CORES if m not in FRONTS and not m.startswith(FACES)]
)
def test_a_core_stands_on_no_shell(module: str) -> None:
    shells = imported_modules(ROOT / module) & SHELLS
    assert not shells, f"{module} is a core but imports {sorted(shells)}"


def test_every_listed_shell_exists_and_is_needed() -> None:
    listed = set(SHELLS)
    assert listed <= set(modules()), sorted(listed - set(modules()))
    needless = {m for m in listed if not imported(ROOT / m) & DOORS}
    assert not needless, f"these import no door and are cores: {sorted(needless)}"


def test_only_the_engine_names_pysyncobj() -> None:
    users = {m for m in modules() if "pysyncobj" in imported(ROOT / m)}
    allowed = {m for m in users if m.startswith("raftstore/raft/")}
    assert users == allowed, sorted(users - allowed)
