"""`/v1/connect/intentions`: who may connect to whom (http-api contract 10.2)."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, Literal, cast

from agent.acl.authorizer import READ
from agent.acl.caller import Need
from agent.errors import RequestError
from agent.explain.intention import decision, default_of
from agent.filters import compile_filter
from agent.http import filter_fields, parse, parse_config, render
from agent.http.call import Call, text
from agent.http.reply import Reply
from raftstore.commands import DeleteIntention, Rejected, SetIntention
from raftstore.entries import kinds
from raftstore.entries.errors import Invalid
from raftstore.entries.shape import Undecodable
from raftstore.queries import GetIntention, ListIntentions, MatchIntentions
from raftstore.records import IntentionSource, ServiceName

#: Names in one `match`.
NAMES_MAX = 256
_UUID_LENGTH = 36
_BAD_ID = "Bad request: failed config entry lookup: index error: UUID must be 36 characters"
_NOT_FOUND = "Intention not found"


def _required(call: Call, name: str) -> str:
    value = call.params.get(name)
    if not value:
        raise RequestError(500, f"required query parameter '{name}' not set")
    return value


def _service(call: Call, name: str) -> ServiceName:
    """A service name; the only namespace may stand before it."""
    return ServiceName(_required(call, name).removeprefix("default/"))


async def list_all(call: Call) -> Reply:
    """Every intention, by precedence."""
    options = call.options()
    expression = call.params.get("filter")
    keep = compile_filter(expression, filter_fields.INTENTION) if expression else None
    found = await call.ask(ListIntentions(), options)
    shown = [render.intention(item) for item in found.value]
    if keep is not None:
        shown = [item for item in shown if keep(item)]
    return call.answer(shown, found, effective=False)


async def match(call: Call) -> Reply:
    """For each name what applies to it, the winner first."""
    options = call.options()
    by = _required(call, "by")
    if by not in {"source", "destination"}:
        raise RequestError(500, "'by' parameter must be one of 'source' or 'destination'")
    _required(call, "name")
    given = call.params.all("name")
    if len(given) > NAMES_MAX:
        raise RequestError(500, f"more than {NAMES_MAX} names in one match")
    names = {name: name.removeprefix("default/") for name in given}
    query = MatchIntentions(
        cast(Literal["source", "destination"], by), tuple(dict.fromkeys(names.values()))
    )
    found = await call.ask(query, options)
    shown = {
        name: [render.intention(item) for item in found.value.get(bare, ())]
        for name, bare in names.items()
    }
    return call.answer(shown, found)


async def check(call: Call) -> Reply:
    """Whether a connection would be allowed."""
    call.options()
    call.check_datacenter()
    source, destination = _service(call, "source"), _service(call, "destination")
    kind = call.params.get("source-type")
    if kind and kind != "consul":
        raise RequestError(500, f"unsupported source-type '{kind}'")
    call.require(Need("service", READ, destination))
    found = await decision(
        call.context.backend,
        source=source,
        destination=destination,
        **default_of(call.context.config),
    )
    return call.json({"Allowed": found.allowed})


# -- by pair -------------------------------------------------------------------------------------


async def exact_get(call: Call) -> Reply:
    """One intention by its pair."""
    options = call.options()
    query = GetIntention(source=_service(call, "source"), destination=_service(call, "destination"))
    found = await call.ask(query, options)
    if found.value is None:
        return text(_NOT_FOUND, status=404)
    return call.json(render.intention(found.value))


async def exact_put(call: Call) -> Reply:
    """Set what holds for a pair; the names in the body do not count."""
    source, destination = _service(call, "source"), _service(call, "destination")
    fields = parse.intention(call.body)
    if fields.get("meta"):
        raise RequestError(500, "Meta must not be specified")
    await call.change(
        SetIntention(destination=destination, source=_source(fields, source, destination))
    )
    return call.json(True)


async def exact_delete(call: Call) -> Reply:
    """Forget what holds for a pair."""
    source, destination = _service(call, "source"), _service(call, "destination")
    await call.change(DeleteIntention(destination=destination, source=source))
    return call.json(True)


def _source(fields: dict[str, Any], name: str, destination: str) -> IntentionSource:
    """A source as the entry of its destination holds it, checked with the entry's words."""
    given = {
        "Name": name,
        "Action": fields.get("action", ""),
        "Type": fields.get("type", ""),
        "Description": fields.get("description", ""),
        "Permissions": list(fields.get("permissions", ())),
    }
    try:
        body = {"Kind": kinds.SERVICE_INTENTIONS, "Name": destination, "Sources": [given]}
        entry = parse_config.checked(body)
    except Undecodable as error:
        raise RequestError(400, f"Bad request: Failed to decode request body: {error}") from None
    except Invalid as error:
        raise RequestError(500, str(error)) from None
    (source,) = entry.content["Sources"]
    return IntentionSource(
        name=ServiceName(name),
        action=source.get("Action", ""),
        permissions=tuple(source.get("Permissions", ())),
        description=source.get("Description", ""),
    )


# -- by id (deprecated, still served) ------------------------------------------------------------


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _legacy(fields: dict[str, Any], intention_id: str, created: str) -> tuple[ServiceName, IntentionSource]:  # fmt: skip  # noqa: E501
    action = fields.get("action", "")
    if action not in {"allow", "deny"}:
        raise RequestError(500, parse.several(["Action must be set to 'allow' or 'deny'"]))
    source = fields.get("source", "").removeprefix("default/")
    destination = fields.get("destination", "").removeprefix("default/")
    missing = [
        f"{name} must be set"
        for name, value in (("SourceName", source), ("DestinationName", destination))
        if not value
    ]
    if missing:
        raise RequestError(500, parse.several(missing))
    partial = [
        f"{name}: wildcard character '*' cannot be used with partial values"
        for name, value in (("SourceName", source), ("DestinationName", destination))
        if "*" in value and value != "*"
    ]
    if partial:
        raise RequestError(500, parse.several(partial))
    checked = _source({**fields, "permissions": ()}, source, destination)
    return ServiceName(destination), IntentionSource(
        name=checked.name,
        action=action,
        description=checked.description,
        legacy_id=intention_id,
        legacy_meta=fields.get("meta"),
        legacy_create_time=created,
        legacy_update_time=_now(),
    )


async def create(call: Call) -> Reply:
    """Make an intention with an id."""
    fields = parse.intention(call.body)
    intention_id = str(uuid.uuid4())
    destination, source = _legacy(fields, intention_id, _now())
    await call.change(SetIntention(destination=destination, source=source, mode="create"))
    return call.json({"ID": intention_id})


def _id(call: Call) -> str:
    if len(call.rest) != _UUID_LENGTH:
        raise RequestError(400, _BAD_ID)
    return call.rest.lower()


async def id_get(call: Call) -> Reply:
    """One intention by its id."""
    options = call.options()
    found = await call.ask(GetIntention(legacy_id=_id(call)), options)
    if found.value is None:
        return text(_NOT_FOUND, status=404)
    return call.json(render.intention(found.value))


async def id_put(call: Call) -> Reply:
    """Replace an intention by its id; when it was made stays known."""
    intention_id = _id(call)
    fields = parse.intention(call.body)
    call.check_datacenter()
    found = await call.context.backend.ask(GetIntention(legacy_id=intention_id))
    if found.value is None:
        return text(_NOT_FOUND, status=404)
    fields.setdefault("source", found.value.source.name)
    fields.setdefault("destination", found.value.destination)
    created = found.value.source.legacy_create_time
    destination, source = _legacy(fields, intention_id, created)
    command = SetIntention(destination=destination, source=source, mode="update")
    outcome = await call.propose(command)
    if isinstance(outcome, Rejected):
        status = 404 if outcome.reason == _NOT_FOUND else 500
        return text(outcome.reason, status=status)
    return call.json({"ID": intention_id})


async def id_delete(call: Call) -> Reply:
    """Forget an intention by its id."""
    intention_id = _id(call)
    deleted = await call.change(DeleteIntention(legacy_id=intention_id))
    if deleted is False:
        raise RequestError(500, f"Cannot delete non-existent intention: '{intention_id}'")
    return call.json(True)
