"""Why a member is alive, suspected or failed: what gossip saw, and what the leader made of it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.dates import date
from agent.errors import RequestError
from raftstore.records import Json

#: Last words of the names of fields that hold seconds since the epoch.
_WHEN = frozenset({"at", "until"})

#: Gives what gossip knows of a member, as a dataclass, or None.
GossipView = Callable[[str], Any]
#: Gives what the leader decided about a member lately (None on an agent that never led).
LeaderView = Callable[[str], Json]


def explain_member(gossip: GossipView, leader: LeaderView, arguments: Sequence[str]) -> Json:
    """Everything about one member by name. Raises RequestError(404) when nobody knows it."""
    name = arguments[0] if arguments else ""
    if not name:
        raise RequestError(400, "Missing member name")
    seen = gossip(name)
    if seen is None:
        raise RequestError(404, f"No node found with name '{name}'")
    return {"Gossip": plain(seen), "Leader": leader(name)}


def plain(value: Any) -> Json:
    """A dataclass as JSON, keys in CamelCase as everywhere in the API."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            _camel(field.name): _part(field.name, getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def _part(name: str, value: Any) -> Json:
    if isinstance(value, float) and name.split("_")[-1] in _WHEN:
        return date(value) if value else None  # 0 stands for never
    return plain(value)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
