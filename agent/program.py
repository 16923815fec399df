"""The program's own files, told from those that the process was started with (ADR 90).

Some parts are loaded when they are first wanted (ADR 71). Once the files were replaced under a
running agent, such a part would be one of the new release among those of the old one, which nobody
has ever tried. It is refused instead, with the remedy: to start the agent anew. A file that looks
as it did at the start, by its size and the time of its last change, is taken for the same.

Only Python files of our packages are looked at. Where the program does not come from files nothing
is refused.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType

from agent.errors import AgentError

log = logging.getLogger("lictor.agent.program")

PACKAGES = ("agent", "gossip", "proxy", "raftstore")
#: What sidecars run of it.
OF_SIDECARS = ("proxy",)
#: How often a running agent compares its files with those of its start, in seconds: a thread's work
#: of some milliseconds.
LOOK_S = 60.0


class ProgramReplaced(AgentError, ImportError):
    """A part of the program that was not loaded yet is another release's by now."""


@dataclass(slots=True)
class ProgramStats:
    """Whether the files are others now (1), and how often loading was refused since the start."""

    replaced_current: int = 0
    loads_refused: int = 0


def folders(packages: Sequence[str] = PACKAGES) -> tuple[str, ...]:
    """Where packages are; found, not imported."""
    specs = [find_spec(package) for package in packages]
    return tuple(
        folder for spec in specs if spec for folder in spec.submodule_search_locations or ()
    )


def looks(roots: Sequence[str]) -> frozenset[int]:
    """How the Python files in folders look now; good to compare with another time in this process.
    A thread's work: hundreds of files."""
    return frozenset(look for root in roots for look in _walk(root))


class Program:
    """The files as they were when this was made; on guard, it is a finder of modules that looks at
    each that is to be loaded."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = tuple(roots)
        self._names = frozenset(os.path.basename(root) for root in roots)
        self._known = looks(roots)
        self.stats = ProgramStats()

    def on_guard(self) -> None:
        """Look at whatever is imported from now on."""
        if self._known:
            sys.meta_path.insert(0, self)

    def off_guard(self) -> None:
        """Let imports be."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Called by each import; other finders are asked for what is not ours. Raises
        ProgramReplaced."""
        if path is None or fullname.partition(".")[0] not in self._names:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        # Of what is not there any more, its package tells.
        files = [found.origin] if found else [os.path.join(each, "__init__.py") for each in path]
        if all(self._as_it_was(file) for file in files if file):
            return found
        self.stats.loads_refused += 1
        self._noticed()
        raise ProgramReplaced(f"{fullname} is not loaded: {_remedy()}", name=fullname)

    async def follow(self, *, look_s: float = LOOK_S) -> None:
        """Say so when the files are others, for ever."""
        while True:
            await asyncio.sleep(look_s)
            await self.replaced()

    async def replaced(self) -> bool:
        """Whether the files are others now; the first time it is logged."""
        if await asyncio.to_thread(looks, self._roots) != self._known:
            self._noticed()
            return True
        self.stats.replaced_current = 0
        return False

    def _as_it_was(self, file: str) -> bool:
        try:
            return _look(file, os.stat(file)) in self._known
        except OSError:
            return False  # it is just being replaced, or gone

    def _noticed(self) -> None:
        if not self.stats.replaced_current:
            self.stats.replaced_current = 1
            log.warning("%s", _remedy())


def _remedy() -> str:
    return (
        "the files of the program were replaced while this agent runs; what it has not loaded yet"
        f" is refused until it is restarted (kill -USR2 {os.getpid()} keeps its listening sockets)"
    )


def _walk(folder: str) -> Iterator[int]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    yield _look(entry.path, entry.stat())
                elif entry.is_dir() and entry.name != "__pycache__":
                    yield from _walk(entry.path)
    except OSError:
        return  # being replaced just now: it looks different, and that is the answer


def _look(path: str, stat: os.stat_result) -> int:
    return hash((path, stat.st_size, stat.st_mtime_ns))
