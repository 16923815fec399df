"""The key `config_entries.bootstrap` -> entries that a leader writes where there are none yet."""

from __future__ import annotations

from agent.config.decode import Values
from agent.errors import ConfigError
from raftstore.definitions import ConfigEntry
from raftstore.entries import kinds
from raftstore.entries.errors import Invalid
from raftstore.entries.shape import Undecodable

KEY = "config_entries.bootstrap"
#: Entries in the configuration: a start is no way to fill a mesh.
ENTRIES_MAX = 1024


def bootstrap_entries(values: Values) -> tuple[ConfigEntry, ...]:
    """All entries of all files. Raises ConfigError with the first that is none."""
    given = values.get(KEY, ())
    if len(given) > ENTRIES_MAX:
        raise ConfigError(f"{KEY}: {len(given)} are more than {ENTRIES_MAX}")
    found = []
    for place, body in enumerate(given):
        try:
            entry = kinds.decode(dict(body))
            kinds.check(entry)
        except (Undecodable, Invalid) as error:
            raise ConfigError(f"{KEY}[{place}]: {error}") from None
        found.append(entry)
    return tuple(found)
