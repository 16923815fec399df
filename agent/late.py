"""Parts of the program that are loaded when they are first wanted, and not before.

Most agents never show a user interface, draw a topology or let anybody log in, and each module that
nobody uses costs memory and time at every start (docs/adr/0071-loaded-when-wanted.md). Loading is
done on a thread: reading and running a module takes milliseconds, and the loop has other things to
do.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from types import ModuleType


async def loaded(name: str) -> ModuleType:
    """A module, once it has run; the import that follows in the caller, for types, is then quick.

    Raises what an import raises.
    """
    found = sys.modules.get(name)
    if found is None:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, importlib.import_module, name)
    return found


class Late:
    """A module to be loaded by its name alone. What is loaded stays."""

    __slots__ = ("_module", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._module: ModuleType | None = None

    @property
    def module(self) -> ModuleType | None:
        """None as long as nobody wanted it."""
        return self._module

    async def loaded(self) -> ModuleType:
        """The module, once it has run. Raises what an import raises."""
        if self._module is None:
            # Not by `loaded`: another thread may be in the middle of it, and nothing waits for that
            # between here and its use.
            loop = asyncio.get_running_loop()
            self._module = await loop.run_in_executor(None, importlib.import_module, self.name)
        return self._module
