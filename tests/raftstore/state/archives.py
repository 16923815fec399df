"""Archives of states in memory: the parts that are staged, and what answers say beside indexes."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from typing import Any

from raftstore import commands as c
from raftstore import queries as q
from raftstore.queries import Query
from raftstore.restore_queries import GetRestore
from raftstore.state import StateMachine
from raftstore.state.snapshots import is_archived, smaller
from raftstore.state.staging import parts
from tests.raftstore.state.commands import ALL_QUERIES

#: About the log, or about indexes: not what is saved.
OF_THE_LOG = (q.History, q.Diff, GetRestore, q.SessionTimers, q.ReadTransaction)
INDEXES = {"create_index", "modify_index", "index"}


def frozen(state: StateMachine) -> list[bytes]:
    """The chunks of a state."""
    steps = state.freeze()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return list(end.value)


def restore_commands(
    source: StateMachine, *, restore_id: str = "r1", rows_max: int = 2, saved_index: int = 7
) -> list[c.Command]:
    """What restores the state of ``source``: begin, parts, end."""
    chunks = [
        small
        for chunk in frozen(source)
        if is_archived(chunk)
        for small in smaller(chunk, rows_max=rows_max, bytes_max=400)
    ]
    digest = hashlib.sha256()
    found: list[c.Command] = [c.BeginRestore(id=restore_id, saved_index=saved_index)]
    for number, (raw, packed) in enumerate(parts(iter(chunks))):
        digest.update(raw)
        found.append(c.StageRestore(id=restore_id, part=number, data=packed))
    found.append(c.EndRestore(id=restore_id, parts=len(found) - 1, sha256=digest.digest()))
    return found


def without_indexes(value: Any) -> Any:
    """A record, or several, less what a restore gives new numbers."""
    if is_dataclass(value) and not isinstance(value, type):
        return [
            (field.name, without_indexes(getattr(value, field.name)))
            for field in fields(value)
            if field.name not in INDEXES
        ]
    if isinstance(value, tuple | list):
        return [without_indexes(item) for item in value]
    if isinstance(value, dict):
        return {key: without_indexes(item) for key, item in value.items()}
    return value


def said(state: StateMachine) -> dict[Query[Any], Any]:
    """What a state says, less indexes."""
    return {
        query: without_indexes(state.answer(query).value)
        for query in ALL_QUERIES
        if not isinstance(query, OF_THE_LOG)
    }


def indexes(state: StateMachine) -> dict[Query[Any], int]:
    """The index of each answer."""
    return {query: state.index_of(query) for query in ALL_QUERIES}
