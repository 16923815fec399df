"""`/v1/history` (ours, not Consul's): who changed what and when, and how two states differ."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from agent.errors import RequestError
from agent.http import render
from agent.http.call import Call
from agent.http.params import moment, parse_uint
from agent.http.reply import Reply
from raftstore import rows
from raftstore.queries import HISTORY_LIMIT, At, Change, Diff, History, HistoryAnswer, Query
from raftstore.records import Actor, Json

#: How the rows of a table look elsewhere in the API; the others are shown field by field.
_RENDERERS: dict[str, Callable[[Any], Json]] = {
    "nodes": render.node,
    "services": render.node_service,
    "checks": render.check,
    "kv": render.kv_pair,
}


async def history(call: Call) -> Reply:
    """Changes after `since` up to `until`; with `diff` the rows that differ between the two."""
    params = call.params
    options = call.options()
    limit = parse_uint(params.get("limit")) if params.get("limit") else HISTORY_LIMIT
    if not 1 <= limit <= HISTORY_LIMIT:
        raise RequestError(400, f"limit must be between 1 and {HISTORY_LIMIT}")
    since = moment(params.get("since")) if params.get("since") else None
    until = moment(params.get("until")) if params.get("until") else At()
    table, key = params.get("table"), params.get("key")
    if table and table not in rows.TYPES:
        raise RequestError(400, f'Unknown table "{table}". Known: {", ".join(rows.TYPES)}')
    query: Query[HistoryAnswer]
    if "diff" in params:
        if since is None:
            raise RequestError(400, "diff needs since")
        query = Diff(since=since, until=until, table=table, key=key, limit=limit)
    else:
        query = History(since=since, until=until, table=table, key=key, limit=limit)
    found = await call.ask(query, options)
    value, headers = found.value, call.read_headers(found)
    head: dict[str, Json] = {"Floor": value.floor, "More": value.more}
    return call.listing(value.changes, _change, headers=headers, within=(head, "Changes"))


def _change(change: Change) -> Json:
    before = rows.read(change.table, change.before)
    after = rows.read(change.table, change.after)
    show = _RENDERERS.get(change.table, _shown)
    return {
        "Index": change.index,
        "Time": _time(change.stamp),
        "Actor": _actor(change.actor),
        "Table": change.table,
        "Key": change.key,
        "Operation": "create" if before is None else "delete" if after is None else "update",
        "Before": None if before is None else show(before),
        "After": None if after is None else show(after),
    }


def _actor(actor: Actor | None) -> Json:
    actor = actor or Actor()
    return {"AccessorID": actor.accessor, "Address": actor.address, "Node": actor.node}


def _time(stamp: float) -> str:
    return datetime.fromtimestamp(stamp, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def _shown(value: Any) -> Json:
    """A record field by field, under Consul's kind of names."""
    if is_dataclass(value):
        return {_name(field.name): _shown(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple | list):
        return [_shown(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _shown(item) for key, item in value.items()}
    return value


def _name(field: str) -> str:
    words = ("ID" if word == "id" else word.capitalize() for word in field.split("_"))
    return "".join(words)
