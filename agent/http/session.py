"""`/v1/session/`: what locks belong to (http-api contract 3)."""

from __future__ import annotations

import uuid

from agent.acl.authorizer import WRITE
from agent.acl.caller import Need
from agent.errors import RequestError
from agent.http import parse_session
from agent.http.call import FAILED_READ, Call
from agent.http.reply import Reply
from raftstore.commands import SessionCreate, SessionDestroy
from raftstore.queries import GetSession, ListSessions, NodeSessions
from raftstore.records import Json, NodeName, Session
from raftstore.uuids import lookup_problem

_REFUSED = "apply failed: "


def shown(session: Session) -> dict[str, Json]:
    """A session as clients see it."""
    services = session.service_checks
    fields: dict[str, Json] = {
        "ID": session.id,
        "Name": session.name,
        "Node": session.node,
        "LockDelay": session.lock_delay_ns,
        "Behavior": session.behavior,
        "TTL": session.ttl,
        "NodeChecks": list(session.node_checks),
        "ServiceChecks": None
        if services is None
        else [{"ID": ref.id, "Namespace": ref.namespace} for ref in services],
    }
    if session.checks:
        fields["Checks"] = list(session.checks)
    fields["CreateIndex"] = session.create_index
    fields["ModifyIndex"] = session.modify_index
    return fields


async def create(call: Call) -> Reply:
    """Begin a session, on this node if no other is named."""
    context = call.context
    made = uuid.UUID(int=context.rng.getrandbits(128), version=4)
    config = context.config
    session = parse_session.session(
        call.body,
        session_id=str(made),
        node=config.node_name,
        ttl_min_s=config.session_ttl_min_s,
    )
    await call.change(SessionCreate(session), refused_prefix=_REFUSED)
    return call.json({"ID": session.id})


async def destroy(call: Call) -> Reply:
    """End a session; one that is not there has ended already."""
    if not call.rest:
        raise RequestError(400, "Missing session")
    await call.change(SessionDestroy(call.rest), refused_prefix=_REFUSED)
    return call.json(True)


async def renew(call: Call) -> Reply:
    """Count the TTL from now; the session, if it still lives. Writes nothing."""
    query = _by_id(call)
    call.check_datacenter()
    there = await call.context.backend.ask(query)
    if there.value is not None:
        call.require(Need("session", WRITE, there.value.node))
    found = await call.context.sessions.renew(query.id)
    if found is None:
        raise RequestError(404, f"Session id '{call.rest}' not found")
    return call.json([shown(found)])


async def info(call: Call) -> Reply:
    """One session, as a list of one or none."""
    options = call.options()
    if call.rest:
        call.failure_headers = FAILED_READ
    found = await call.ask(_by_id(call), options)
    sessions: Json = [] if found.value is None else [shown(found.value)]
    return call.answer(sessions, found, effective=False)


async def of_node(call: Call) -> Reply:
    """The sessions of one node."""
    options = call.options()
    if not call.rest:
        raise RequestError(400, "Missing node name")
    call.failure_headers = FAILED_READ
    found = await call.ask(NodeSessions(NodeName(call.rest)), options)
    return call.answer([shown(item) for item in found.value], found, effective=False)


async def list_all(call: Call) -> Reply:
    """All sessions."""
    options = call.options()
    call.failure_headers = FAILED_READ
    found = await call.ask(ListSessions(), options)
    return call.answer([shown(item) for item in found.value], found, effective=False)


def _by_id(call: Call) -> GetSession:
    if not call.rest:
        raise RequestError(400, "Missing session")
    problem = lookup_problem(call.rest)
    if problem:
        raise RequestError(500, f"failed session lookup: {problem}")
    return GetSession(call.rest.lower())
