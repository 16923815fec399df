"""`/v1/config`: config entries (http-api contract 11, mesh contract C.1)."""

from __future__ import annotations

import json

from agent.errors import RequestError
from agent.filter_kinds import BOOLEAN, INTEGER, STRING, STRING_MAP, STRINGS, Field, Kind
from agent.filters import compile_filter
from agent.http import parse_config
from agent.http.call import Call, text
from agent.http.params import parse_uint
from agent.http.reply import Reply, header
from raftstore.commands import Rejected
from raftstore.definition_commands import DeleteConfigEntry, SetConfigEntry
from raftstore.definition_queries import GetConfigEntry, ListConfigEntries
from raftstore.definitions import ConfigEntry
from raftstore.entries import kinds, shape
from raftstore.entries.errors import Invalid
from raftstore.entries.shape import Undecodable
from raftstore.mesh_queries import PlanConfigEntry

#: Says of a refusal what was wrong, so that nobody needs to read the text.
_WHY = "X-Lictor-Error"
_WARNING = "X-Lictor-Warning"


async def put(call: Call) -> Reply:
    """Write an entry, by compare-and-set if asked: true or false."""
    try:
        entry = parse_config.checked(parse_config.body(call.body))
    except Undecodable as error:
        return _refused(400, f"Bad request: Request decoding failed: {error}", "decode")
    except Invalid as error:
        return _refused(500, str(error), "validation")
    if "plan" in call.params:
        return await _plan(call, entry)
    cas = parse_uint(call.params.get("cas")) if "cas" in call.params else None
    call.check_datacenter()
    outcome = await call.propose(SetConfigEntry(entry, cas))
    if isinstance(outcome, Rejected):
        return _refused(500, outcome.reason, "graph")
    warnings = kinds.KINDS[entry.kind].warnings(entry.content)
    headers = tuple(header(_WARNING, warning) for warning in warnings)
    return call.json(bool(outcome.value), headers=headers)


async def _plan(call: Call, entry: ConfigEntry) -> Reply:
    """What writing or deleting the entry would do (ours); nothing is written."""
    query = PlanConfigEntry(
        entry.kind,
        entry.name,
        json.dumps(entry.content),
        call.context.config.datacenter,
        call.params.get("plan") == "delete",
    )
    found = (await call.ask(query)).value
    before = None if found.before is None else kinds.shown(found.before)
    return call.json(
        {
            "Kind": entry.kind,
            "Name": entry.name,
            "Action": found.action,
            "Refused": found.refused,
            "Before": before,
            "After": kinds.shown(entry),
            "Chains": list(found.chains),
            "ChainsCount": found.chains_count,
            "Warnings": kinds.KINDS[entry.kind].warnings(entry.content),
        }
    )


def _refused(status: int, reason: str, why: str) -> Reply:
    return text(reason, status=status, headers=(header(_WHY, why),))


async def get(call: Call) -> Reply:
    """One entry, all entries of a kind, or all."""
    options = call.options()
    kind, _, name = call.rest.partition("/")
    if kind and kind not in kinds.KINDS:
        raise RequestError(500, kinds.bad_kind(kind))
    if name:
        found = await call.ask(GetConfigEntry(kind, name), options)
        headers = call.read_headers(found, effective=False)
        if found.value is None:
            missing = f'Config entry not found for "{kind}" / "{name}"'
            return text(missing, status=404, headers=headers)
        return call.json(kinds.shown(found.value), headers=headers)
    expression = call.params.get("filter")
    keep = compile_filter(expression, _fields(kind)) if expression else None
    listed = await call.ask(ListConfigEntries(kind), options)
    return call.listing(
        listed.value,
        kinds.shown,
        filtered=keep,
        headers=call.read_headers(listed, effective=False),
    )


async def delete(call: Call) -> Reply:
    """Delete an entry; an absent one is gone already."""
    kind, slash, name = call.rest.partition("/")
    if not slash or not name:
        return _refused(404, "Must provide both a kind and name to delete", "decode")
    if kind not in kinds.KINDS:
        return _refused(400, kinds.bad_kind(kind), "decode")
    cas = parse_uint(call.params.get("cas")) if "cas" in call.params else None
    call.check_datacenter()
    outcome = await call.propose(DeleteConfigEntry(kind, name, cas))
    if isinstance(outcome, Rejected):
        return _refused(500, outcome.reason, "graph")
    return call.json({} if cas is None else bool(outcome.value))


# -- what a filter may select --------------------------------------------------------------------

_SCALARS = {
    shape.Kind.TEXT: STRING,
    shape.Kind.INT: INTEGER,
    shape.Kind.UINT: INTEGER,
    shape.Kind.FLOAT: INTEGER,
    shape.Kind.DURATION: STRING,
    shape.Kind.BOOL: BOOLEAN,
    shape.Kind.TEXTS: STRINGS,
    shape.Kind.TEXT_MAP: STRING_MAP,
}
_HEAD = {
    "Kind": STRING,
    "Name": STRING,
    "Meta": STRING_MAP,
    "CreateIndex": INTEGER,
    "ModifyIndex": INTEGER,
}


def _fields(kind: str) -> Field:
    """What a filter of a listing may name: the fields of its kind; of all kinds, those of each."""
    own = _below(kinds.KINDS[kind].shape) if kind else {}
    return Field(Kind.OBJECT, {**_HEAD, **own})


def _below(of: shape.Shape) -> dict[str, Field]:
    found: dict[str, Field] = {}
    for one in of.fields:
        if one.kind in _SCALARS:
            found[one.name] = _SCALARS[one.kind]
        elif one.shape is not None:
            fields = _below(one.shape)
            if one.kind is shape.Kind.OBJECT:
                found[one.name] = Field(Kind.OBJECT, fields)
            elif one.kind is shape.Kind.OBJECTS:
                found[one.name] = Field(Kind.OBJECTS, fields)
            else:
                found[one.name] = Field(Kind.MAP, values=Field(Kind.OBJECT, fields))
    return found
