"""What another configuration changes in a running agent, key by key. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.config.decode import Values
from agent.config.keys import KEYS_BY_PATH, Key, Standing

_ABSENT = object()


class Effect(enum.Enum):
    """What becomes of a key that has another value than before."""

    #: A reload takes it over.
    LIVE = "live"
    #: It counts from the next start on.
    RESTART = "needs restart"
    #: It never counts: accepted for the sake of files written for Consul, or not built yet.
    NOTHING = "no effect"


@dataclass(frozen=True, slots=True)
class Change:
    """One key; ``sources`` say its new value, the last one wins; none: it has gone."""

    key: str
    effect: Effect
    sources: tuple[str, ...] = ()
    #: Why it has no effect, where that is known.
    why: str = ""


def effect_of(key: Key) -> Effect:
    """What a change of this key does."""
    if key.standing is not Standing.NOW:
        return Effect.NOTHING
    return Effect.LIVE if key.live else Effect.RESTART


def changes(
    running: Values, read: Values, origins: Mapping[str, Sequence[str]]
) -> tuple[Change, ...]:
    """All keys whose value differs, by name. ``running`` is in force, ``read`` stands in files."""
    differing = sorted(
        path for path in {*running, *read} if running.get(path, _ABSENT) != read.get(path, _ABSENT)
    )
    return tuple(
        Change(
            path,
            effect_of(KEYS_BY_PATH[path]),
            tuple(origins.get(path, ())),
            KEYS_BY_PATH[path].note,
        )
        for path in differing
    )


def in_force(running: Values, read: Values) -> Values:
    """What is in force after a reload: of ``read`` what it takes over, the rest as it was."""
    kept = {path: value for path, value in running.items() if not KEYS_BY_PATH[path].live}
    taken = {path: value for path, value in read.items() if KEYS_BY_PATH[path].live}
    return kept | taken
