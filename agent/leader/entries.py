"""Writes the config entries of the agent's configuration where there are none yet.

An entry that exists is left alone, whoever wrote it. One that the state refuses is told, and the
others are written all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from agent.backend import Backend
from raftstore.commands import Rejected
from raftstore.definition_commands import SetConfigEntry
from raftstore.definition_queries import GetConfigEntry
from raftstore.definitions import ConfigEntry
from raftstore.entries import kinds

log = logging.getLogger("lictor.agent.leader")

#: What others stand on is written first.
_ORDER = (
    kinds.MESH,
    kinds.PROXY_DEFAULTS,
    kinds.SERVICE_DEFAULTS,
    kinds.JWT_PROVIDER,
    kinds.RESOLVER,
    kinds.SPLITTER,
    kinds.ROUTER,
)


def in_order(entries: Sequence[ConfigEntry]) -> list[ConfigEntry]:
    """The entries in an order in which each finds what it stands on."""
    ranks = {kind: rank for rank, kind in enumerate(_ORDER)}
    return sorted(entries, key=lambda entry: ranks.get(entry.kind, len(_ORDER)))


async def ensure_entries(backend: Backend, entries: Sequence[ConfigEntry]) -> None:
    """Leader's duty; safe to repeat."""
    waiting = in_order(entries)
    refused: dict[str, str] = {}
    # Entries of one kind may stand on each other: go on as long as some are taken.
    while waiting:
        left = []
        for entry in waiting:
            found = await backend.ask(GetConfigEntry(entry.kind, entry.name))
            if found.value is not None:
                continue
            outcome = await backend.change(SetConfigEntry(entry, 0))
            if isinstance(outcome, Rejected):
                refused[f"{entry.kind}/{entry.name}"] = outcome.reason
                left.append(entry)
            else:
                log.info("config entry written kind=%s name=%s", entry.kind, entry.name)
        if len(left) == len(waiting):
            break
        waiting = left
    for entry in waiting:
        name = f"{entry.kind}/{entry.name}"
        if name in refused:
            log.error("config entry refused entry=%s reason=%s", name, refused[name])
