"""Every module is declared as a core or a shell, and a core stays free of I/O."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

from tests.repo.sources import ROOT, modules, nodes

#: Modules that own sockets, files, timers or tasks. Everything else is a core.
SHELLS = frozenset((Path(__file__).parent / "shells.txt").read_text().split())

#: What no core may import: the doors to the outside.
DOORS = frozenset(
    "asyncio socket ssl time os threading subprocess aiohttp pysyncobj select signal shutil "
    "tempfile concurrent multiprocessing uvloop lmdb logging".split()
)

#: Request handlers and commands have no door of their own, but stand on a shell that has: they
#: say what to ask and how to show it, and are tried through it. What puts the parts of an agent
#: together knows them all.
FACES = ("agent/http/", "agent/cli/", "agent/parts/")
#: What may know a shell without being one: a package's front door, the program's entry, the engine
#: under simulation, the servant of calls that have been decoded already, the runtime's hands
#: that make TLS and archives of the configuration, the handlers of the proxy's requests, a stream
#: on its way to another connection, what is asked of an agent, and who has what is rarely wanted
#: loaded.
FRONTS = frozenset(
    "agent/__main__.py agent/acl/access.py agent/acl/served.py agent/dns/__init__.py "
    "raftstore/raft/__init__.py gossip/__init__.py "
    "raftstore/raft/engine.py raftstore/raft/replica.py agent/backend/rpc/service.py "
    "agent/internal_tls.py agent/keeping.py agent/archive_bounds.py proxy/l7/inbound.py "
    "proxy/l7/exposed.py proxy/l7/outbound_plan.py agent/explain/registry.py "
    "agent/leader/login_door.py agent/connect/authority_door.py "
    "proxy/l7/ingress_http.py proxy/l7/short.py proxy/tunnel/crossing.py "
    "proxy/tunnel/crossings.py proxy/agent_api.py".split()
)


@functools.cache
def imported(path: Path) -> set[str]:
    """Top-level names of everything a module imports at run time."""
    names: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def imported_modules(path: Path) -> set[str]:
    """Our modules that a module imports at run time, as paths from the root."""
    annotations = for_annotations(path)
    names: set[str] = set()
    for node in nodes(path):
        if node in annotations:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    files = {f"{name.replace('.', '/')}.py" for name in names}
    return files & modules()


def for_annotations(path: Path) -> set[ast.AST]:
    """What a module imports for its annotations only."""
    return {
        statement
        for node in nodes(path)
        if isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
        for statement in node.body
    }


CORES = sorted(modules() - SHELLS)


def test_a_core_imports_no_door_to_the_outside() -> None:
    found = {core: sorted(doors) for core in CORES if (doors := imported(ROOT / core) & DOORS)}
    assert not found, f"these are cores; or list them in shells.txt: {found}"


def test_a_core_stands_on_no_shell() -> None:
    found = {
        core: sorted(shells)
        for core in CORES
        if core not in FRONTS and not core.startswith(FACES)
        if (shells := imported_modules(ROOT / core) & SHELLS)
    }
    assert not found, f"these are cores: {found}"


def test_every_listed_shell_exists_and_is_needed() -> None:
    listed = set(SHELLS)
    assert listed <= modules(), sorted(listed - modules())
    needless = {m for m in listed if not imported(ROOT / m) & DOORS}
    assert not needless, f"these import no door and are cores: {sorted(needless)}"


def test_only_the_engine_names_pysyncobj() -> None:
    users = {m for m in modules() if "pysyncobj" in imported(ROOT / m)}
    allowed = {m for m in users if m.startswith("raftstore/raft/")}
    assert users == allowed, sorted(users - allowed)
