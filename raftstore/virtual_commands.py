"""Changes of virtual addresses. See commands.py; numbers are part of the log's format."""

from __future__ import annotations

from dataclasses import dataclass

from raftstore.commands import Command, numbered


@numbered(70)
@dataclass(frozen=True, slots=True)
class EnableVirtualAddresses(Command):
    """From here on every service of the mesh is given a virtual address; those that are there
    get theirs now. Once on it stays on. ``linked``: so is every service that a terminating gateway
    links by its name. Value: whether that was off."""

    linked: bool = False
