"""`/v1/query`: prepared queries (http-api contract 14)."""

from __future__ import annotations

import ipaddress
import re
import uuid
from typing import Any

from agent import queries
from agent.acl.authorizer import READ
from agent.acl.caller import Need
from agent.acl.writes import query_name
from agent.backend import Ask
from agent.backend import Reply as Answered
from agent.errors import RequestError
from agent.http import render
from agent.http.call import FAILED_READ, Call, done
from agent.http.params import parse_bool
from agent.http.parse_query import prepared_query, refuse
from agent.http.reply import Reply
from agent.wan.questions import told
from raftstore.definition_commands import DeletePreparedQuery, SetPreparedQuery
from raftstore.definition_queries import (
    GetPreparedQuery,
    ListPreparedQueries,
)
from raftstore.definitions import PreparedQuery
from raftstore.records import Json
from raftstore.uuids import lookup_problem

_REFUSED = "raft apply failed: "
_INTEGER = re.compile(r"[+-]?[0-9]+")


def shown(record: PreparedQuery) -> dict[str, Json]:
    """A query as clients see it."""
    return _shown(record, queries.to_content(queries.definition_of(record)))


def _shown(record: PreparedQuery, content: Json) -> dict[str, Json]:
    return {
        "ID": record.id,
        "Name": record.name,
        "Session": record.session,
        **content,
        "CreateIndex": record.create_index,
        "ModifyIndex": record.modify_index,
    }


async def create(call: Call) -> Reply:
    """Write a new query."""
    query_id, query = prepared_query(call.body)
    if query_id:
        raise RequestError(500, "ID must be empty when creating a new prepared query")
    made = str(uuid.UUID(int=call.context.rng.getrandbits(128), version=4))
    await _write(call, made, query)
    return call.json({"ID": made})


async def update(call: Call) -> Reply:
    """Replace a query; the id is that of the path."""
    query = prepared_query(call.body)[1] if call.body else queries.Definition()
    await _write(call, (await _existing(call)).id, query)
    return done()


async def delete(call: Call) -> Reply:
    """Forget a query."""
    found = await _existing(call)
    await call.change(DeletePreparedQuery(found.id), refused_prefix=_REFUSED)
    return done()


async def _existing(call: Call) -> PreparedQuery:
    problem = lookup_problem(call.rest)
    if problem:
        raise RequestError(
            500, f"Prepared Query lookup failed: failed prepared query lookup: {problem}"
        )
    found = await call.ask(GetPreparedQuery(call.rest.lower()), Ask())
    if found.value is None:
        raise RequestError(500, f"Cannot modify non-existent prepared query: '{call.rest}'")
    return found.value


async def _write(call: Call, query_id: str, query: queries.Definition) -> None:
    problem = queries.problem(query)
    if problem:
        raise refuse(problem)
    template = bool(query.template.type)
    if template:
        try:
            queries.compile_template(query)
        except queries.TemplateError as error:
            raise RequestError(500, f"{_REFUSED}failed compiling template: {error}") from None
    record = PreparedQuery(
        id=query_id,
        name=query.name,
        session=query.session,
        template=template,
        content=queries.to_content(query),
    )
    await call.change(SetPreparedQuery(record), refused_prefix=_REFUSED)


async def list_all(call: Call) -> Reply:
    """All queries."""
    options = call.options()
    call.failure_headers = FAILED_READ
    found = await call.ask(ListPreparedQueries(), options)
    return call.listing(found.value, shown, headers=call.read_headers(found))


async def read(call: Call) -> Reply:
    """One query by its id, as a list of one."""
    options = call.options()
    call.failure_headers = FAILED_READ
    problem = lookup_problem(call.rest)
    if problem:
        raise RequestError(500, f"failed prepared query lookup: {problem}")
    found = await call.ask(GetPreparedQuery(call.rest.lower()), options)
    if found.value is None:
        raise _not_found(call)
    return call.answer([shown(found.value)], found)


async def execute(call: Call) -> Reply:
    """The instances that a query finds."""
    options = call.options()
    request = _request(call)
    call.failure_headers = FAILED_READ
    asking = _Asking(call, options)
    try:
        found = await queries.run_asking(queries.execution(request, call.context.rng), asking.ask)
    except queries.QueryNotFound:
        raise _not_found(call) from None
    answered = asking.answered()
    head = {
        "Service": found.query.service.service,
        "DNS": {"TTL": found.query.dns_ttl},
        "Datacenter": found.datacenter or call.context.config.datacenter,
        "Failovers": found.failovers,
        **_meta(answered),
    }
    return call.listing(
        found.nodes,
        render.health_entry,
        headers=call.listing_headers(answered),
        within=(head, "Nodes"),
    )


async def explain(call: Call) -> Reply:
    """The query that answers for a name, as it is for that name."""
    options = call.options()
    call.failure_headers = FAILED_READ
    asking = _Asking(call, options)
    try:
        record, query = await queries.run_asking(queries.resolution(call.rest), asking.ask)
    except queries.QueryNotFound:
        raise _not_found(call) from None
    name = query_name(record)
    if name is not None:
        call.require(Need("query", READ, name))
    answered = asking.answered()
    body = {"Query": _shown(record, queries.to_content(query)), **_meta(answered)}
    return call.answer(body, answered)


def _not_found(call: Call) -> RequestError:
    call.failure_headers = ()
    return RequestError(404, "Query not found")


def _request(call: Call) -> queries.Request:
    params = call.params
    limit = params.get("limit")
    if limit and not (_INTEGER.fullmatch(limit) and len(limit) < 20):
        raise RequestError(500, f'Bad limit: strconv.Atoi: parsing "{limit}": invalid syntax')
    connect: bool | None = False
    if params.get("connect"):
        text = params.get("connect")
        connect = parse_bool(text)
        if connect is None:
            raise RequestError(
                500,
                "Error parsing 'connect' value: "
                f'strconv.ParseBool: parsing "{text}": invalid syntax',
            )
    return queries.Request(
        name=call.rest,
        agent=call.context.config.node_name,
        near=params.get("near"),
        limit=int(limit) if limit else 0,
        connect=bool(connect),
        source_ip=_source_ip(call),
        datacenter=call.context.config.datacenter,
    )


def _source_ip(call: Call) -> str:
    """Where the question comes from; a proxy before the agent may say so."""
    forwarded = call.headers.get("X-Forwarded-For", "").partition(",")[0].strip()
    for text in (forwarded, call.address.rpartition(":")[0].strip("[]")):
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            continue
    return ""


class _Asking:
    """Asks the questions of one request, and knows how the last was answered."""

    def __init__(self, call: Call, options: Ask) -> None:
        self._call = call
        # Carrying out a query never waits for a change.
        self._options = Ask(
            consistency=options.consistency, max_stale_s=options.max_stale_s, at=options.at
        )
        self._last: Answered[Any] | None = None

    async def ask(self, query: queries.Question) -> Any:
        call = self._call
        if isinstance(query, queries.Elsewhere | queries.Datacenters):
            return await told(
                call.context.way,
                query,
                self._options,
                secret=call.secret or call.access.tokens.default,
                timeout_s=call.context.config.rpc_hold_timeout_s,
            )
        self._last = await self._call.ask(query, self._options)
        return self._last.value

    def answered(self) -> Answered[Any]:
        """How the whole was answered; there is no index to wait behind."""
        last = self._last
        assert last is not None, "every query needs a look at the state"
        return Answered(
            value=None,
            index=1,
            known_leader=last.known_leader,
            last_contact_s=last.last_contact_s,
            consistency=last.consistency,
        )


def _meta(answered: Answered[Any]) -> dict[str, Json]:
    return {
        "Index": answered.index,
        "LastContact": round(answered.last_contact_s * 1e9),
        "KnownLeader": answered.known_leader,
        "ConsistencyLevel": answered.consistency.value,
        "NotModified": False,
        "Backend": 0,
    }
