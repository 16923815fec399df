"""`/v1/agent/check*`: the checks of this host (http-api contract 9)."""

from __future__ import annotations

from agent.errors import RequestError
from agent.filters import compile_filter
from agent.http import filter_fields, parse, render
from agent.http.agent import parameter
from agent.http.call import Call, done
from agent.http.local_needs import (
    may_change_check,
    may_register_check,
    sees_check,
    with_own_token,
)
from agent.http.reply import Reply
from raftstore.records import CRITICAL, PASSING, WARNING, CheckId


async def list_all(call: Call) -> Reply:
    """The checks registered here, by id."""
    expression = call.params.get("filter")
    filtered = compile_filter(expression, filter_fields.CHECK) if expression else None
    node = call.context.config.node_name
    call.consulted = True
    return call.mapping(
        {**call.context.local.checks()},
        lambda check: render.local_check(check, node),
        keep=lambda check: sees_check(call, check),
        filtered=filtered,
    )


async def register(call: Call) -> Reply:
    """Register a check here."""
    definition = parse.check_definition(call.body)
    if not definition.name:
        raise RequestError(400, "Missing check name")
    may_register_check(call, definition.service_id, definition.id or definition.name)
    await call.context.local.register_check(with_own_token(call, definition))
    return done()


async def deregister(call: Call) -> Reply:
    """Forget a check; an unknown one is no error."""
    check_id = parameter(call)
    if not check_id:
        raise RequestError(500, "CheckID missing")
    may_change_check(call, check_id)
    await call.context.local.deregister_check(CheckId(check_id))
    return done()


async def pass_(call: Call) -> Reply:
    """The application says it is well."""
    return await _report(call, PASSING, call.params.get("note"))


async def warn(call: Call) -> Reply:
    """The application says it is not quite well."""
    return await _report(call, WARNING, call.params.get("note"))


async def fail(call: Call) -> Reply:
    """The application says it is not well."""
    return await _report(call, CRITICAL, call.params.get("note"))


async def update(call: Call) -> Reply:
    """The application says how it is, in a body."""
    status, output = parse.check_update(call.body)
    if status not in {PASSING, WARNING, CRITICAL}:
        raise RequestError(400, f"Invalid check status: '{status}'")
    return await _report(call, status, output)


async def _report(call: Call, status: str, output: str) -> Reply:
    may_change_check(call, parameter(call))
    await call.context.local.update_ttl(CheckId(parameter(call)), status, output)
    return done()
