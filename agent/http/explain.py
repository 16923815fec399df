"""`/v1/explain/<what>/<args>`: why a decision fell, as data from agent/explain."""

from __future__ import annotations

from agent.acl.authorizer import READ
from agent.acl.caller import Need
from agent.errors import RequestError
from agent.explain.acl import explain_access, explain_denials
from agent.http.call import Call
from agent.http.reply import Reply
from raftstore.definition_queries import GetACLToken


async def explain(call: Call) -> Reply:
    """Hand the question to the explainer of that name."""
    what, *arguments = call.rest.split("/")
    if what == "acl":
        return await _access(call, [argument for argument in arguments if argument])
    call.require(Need("operator", READ))
    explainer = call.context.explainers.get(what)
    if explainer is None:
        known = ", ".join(sorted(["acl", *call.context.explainers]))
        raise RequestError(404, f'Cannot explain "{what}". Known: {known}')
    given = [argument for argument in arguments if argument]
    return call.json(await explainer(given, call.params.first()))


async def _access(call: Call, arguments: list[str]) -> Reply:
    """What a token may do: one's own with that token, another's by its accessor with acl:read."""
    access = call.access
    if not arguments:
        call.require(Need("operator", READ))
        return call.json(
            explain_denials(
                enabled=access.enabled,
                default_policy=access.config.default_policy,
                dry_run=access.dry_run,
                denials=tuple(access.guard.denials),
            )
        )
    accessor = call.params.get("accessor")
    if accessor:
        found = await call.ask(GetACLToken(accessor.lower()))
        caller = None if found.value is None else access.resolver.caller_of(found.value)
        if caller is None:
            raise RequestError(404, "this agent knows no such token")
    else:
        caller = call.caller
        call.consulted = True
    return call.json(explain_access(caller, arguments))
