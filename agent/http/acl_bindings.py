"""`/v1/acl/binding-rule*`: what proved identities get (http-api contract 19)."""

from __future__ import annotations

from typing import Any

from agent.errors import RequestError
from agent.http import parse_login
from agent.http.acl_links import new_id, path_id
from agent.http.acl_named import asked, replaced_id, written
from agent.http.call import Call
from agent.http.reply import Reply
from agent.login import bindings, methods
from raftstore.definition_commands import DeleteACLBindingRule, SetACLBindingRule
from raftstore.definition_queries import (
    GetACLAuthMethod,
    GetACLBindingRule,
    ListACLBindingRules,
)
from raftstore.definitions import ACLBindingRule
from raftstore.records import Json

_INVALID = "Invalid Binding Rule"


def shown(rule: ACLBindingRule) -> dict[str, Json]:
    """A rule as clients see it."""
    kept = rule.content or {}
    found: dict[str, Json] = {
        "ID": rule.id,
        "Description": kept.get("Description", ""),
        "AuthMethod": rule.auth_method,
        "Selector": kept.get("Selector", ""),
        "BindType": kept.get("BindType", ""),
        "BindName": kept.get("BindName", ""),
    }
    if kept.get("BindVars"):
        found["BindVars"] = kept["BindVars"]
    return found | {"CreateIndex": rule.create_index, "ModifyIndex": rule.modify_index}


async def list_all(call: Call) -> Reply:
    """All rules, or those of an auth method."""
    found = await asked(call, ListACLBindingRules(call.params.get("authmethod")))
    headers = call.read_headers(found, effective=False)
    return call.listing(found.value, shown, headers=headers)


async def read(call: Call) -> Reply:
    """One rule by id."""
    rule_id = path_id(call, "binding rule")
    found = await asked(call, GetACLBindingRule(rule_id))
    if found.value is None:
        return Reply(status=404)
    return call.answer(shown(found.value), found, effective=False)


async def create(call: Call) -> Reply:
    """A new rule; the agent gives it an id."""
    given = parse_login.rule(call.body)
    if given.get("id"):
        return await _replace(call, path_id(call, "binding rule", given["id"]), given)
    return await _write(call, new_id(call), given, cas=0)


async def update(call: Call) -> Reply:
    """Replace the rule that the path names."""
    given = parse_login.rule(call.body)
    return await _replace(call, replaced_id(call, given, "binding rule", "Binding Rule"), given)


async def _replace(call: Call, rule_id: str, given: dict[str, Any]) -> Reply:
    stored = (await call.context.backend.ask(GetACLBindingRule(rule_id))).value
    if stored is None:
        raise RequestError(500, f"cannot find binding rule {rule_id}")
    method = given.get("auth_method") or stored.auth_method
    if method != stored.auth_method:
        raise RequestError(500, "the AuthMethod field of an Binding Rule is immutable")
    return await _write(call, rule_id, given | {"auth_method": method}, cas=stored.modify_index)


async def delete(call: Call) -> Reply:
    """Forget a rule; one that is not there is gone already."""
    await call.change(DeleteACLBindingRule(path_id(call, "binding rule")))
    return call.json(True)


async def _write(call: Call, rule_id: str, given: dict[str, Any], *, cas: int) -> Reply:
    method = given.get("auth_method", "")
    if not method:
        raise RequestError(500, f"{_INVALID}: no AuthMethod is set")
    found = (await call.context.backend.ask(GetACLAuthMethod(method))).value
    if found is None:
        raise RequestError(500, f'cannot find auth method with name "{method}"')
    try:
        known = methods.read(found.type, (found.content or {}).get("Config"))
    except methods.MethodError:  # written by an older release, perhaps: logins will say so
        known = methods.JwtMethod()
    content = _content(given, list(known.variables))
    rule = ACLBindingRule(id=rule_id, auth_method=method, content=content)
    query = GetACLBindingRule(rule_id)
    return call.json(
        shown(await written(call, SetACLBindingRule(rule, cas), query, "binding rule") or rule)
    )


def _content(given: dict[str, Any], variables: list[str]) -> dict[str, Json]:
    """What is kept beside the method. Raises RequestError."""
    bind_type, name = given.get("bind_type", ""), given.get("bind_name", "")
    if not bind_type:
        raise RequestError(500, f"{_INVALID}: no BindType is set")
    if not name:
        raise RequestError(500, f"{_INVALID}: no BindName is set")
    if bind_type not in bindings.BIND_TYPES:
        raise RequestError(500, f'{_INVALID}: unknown BindType "{bind_type}"')
    try:
        bindings.check_name(bind_type, name, variables)
    except bindings.BindError as error:
        reason = f": {error}" if str(error) else ""
        raise RequestError(500, f"{_INVALID}: invalid BindName{reason}") from None
    found: dict[str, Json] = {
        "Description": given.get("description", ""),
        "Selector": given.get("selector", ""),
        "BindType": bind_type,
        "BindName": name,
    }
    if given.get("bind_vars"):
        if bind_type != bindings.TEMPLATE:
            raise RequestError(
                500, f"{_INVALID}: BindVars cannot be set when bind type is not templated-policy"
            )
        found["BindVars"] = given["bind_vars"]
    return found
