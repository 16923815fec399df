"""The autopilot's configuration: one record, compare-and-set. What it means is agent/leader's."""

from __future__ import annotations

from dataclasses import replace

from raftstore.commands import Applied, Outcome, SetAutopilot
from raftstore.records import AutopilotConfig, same_content
from raftstore.state.tables import Indexes

_TABLE = "autopilot"


class Autopilot:
    """What the servers agreed on about looking after themselves."""

    __slots__ = ("_indexes", "config")

    def __init__(self, indexes: Indexes) -> None:
        self._indexes = indexes
        self.config: AutopilotConfig | None = None

    def set(self, index: int, command: SetAutopilot) -> Outcome:
        """Replace the record, unless it has moved since ``cas``."""
        stored = self.config
        if command.cas is not None and command.cas != (stored.modify_index if stored else 0):
            return Applied(index, False)
        if stored is not None and same_content(stored, command.config):
            return Applied(index, True)
        created = stored.create_index if stored else index
        self.config = replace(command.config, create_index=created, modify_index=index)
        self._indexes.record((_TABLE, "", stored, self.config))
        self._indexes.raise_to(_TABLE, index)
        return Applied(index, True)

    def index(self) -> int:
        """Index of the last change."""
        return self._indexes.of(_TABLE)
