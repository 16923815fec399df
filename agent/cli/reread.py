"""The files and flags of an agent that runs: read anew, compared with what is in force."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

from agent.config.changes import Change, Effect, changes, in_force
from agent.config.load import AgentFlags, LoadedConfig, blamed, load, stamp
from agent.config.rules import LOG_LEVELS
from agent.config.schema import AgentConfig
from agent.errors import ConfigError
from raftstore.records import Json

log = logging.getLogger("lictor.agent")


class Reread:
    """What `agent.reloading` asks for; calls come from threads."""

    def __init__(self, flags: AgentFlags, started: LoadedConfig, stamped: object) -> None:
        """``stamped`` is how the files looked just before ``started`` was read."""
        self._flags = flags
        self.read_stamp = stamped
        self._lock = threading.Lock()
        self._running = started.values
        self._level = started.config.log_level
        self._read = started

    def read(self) -> AgentConfig:
        """Everything anew. Raises ConfigError."""
        self.read_stamp = self.stamp()
        loaded = load(self._flags)
        for warning in loaded.warnings:
            log.warning("%s", warning)
        if loaded.config.log_level not in LOG_LEVELS:
            log.error("invalid log level, keeping the old one level=%s", loaded.config.log_level)
            loaded = replace(loaded, config=replace(loaded.config, log_level=self._level))
        with self._lock:
            self._read = loaded
        return loaded.config

    def taken(self) -> list[str]:
        """What was read last is in force; gives the keys that wait for a restart."""
        with self._lock:
            self._level = self._read.config.log_level
            self._running = in_force(self._running, self._read.values)
            found = changes(self._running, self._read.values, self._read.origins)
        return [change.key for change in found if change.effect is Effect.RESTART]

    def plan(self) -> Json:
        """What a reload would change now: the changes, or why it would be refused."""
        try:
            loaded = load(self._flags)
        except ConfigError as error:
            return refused(self._flags, error)
        with self._lock:
            found = changes(self._running, loaded.values, loaded.origins)
            known = self._read.warnings
        return {
            "Valid": True,
            "Error": "",
            "Changes": [shown(each) for each in found],
            "Warnings": [each for each in loaded.warnings if each not in known],
        }

    def stamp(self) -> object:
        """How the files look now."""
        return stamp(self._flags.paths)


def shown(change: Change) -> dict[str, Json]:
    """A change of a key as a plan tells it."""
    found: dict[str, Json] = {
        "Key": change.key,
        "Effect": change.effect.value,
        "Sources": list(change.sources),
    }
    return found | ({"Why": change.why} if change.why else {})


def refused(flags: AgentFlags, error: ConfigError) -> Json:
    """A plan that comes to nothing, and which sources have to be mended."""
    sources = {key: list(said) for key, said in blamed(flags, str(error)).items()}
    return {
        "Valid": False,
        "Error": str(error),
        "ErrorSources": sources,
        "Changes": [],
        "Warnings": [],
    }
