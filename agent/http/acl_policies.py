"""`/v1/acl/policy*`: named sets of rules (http-api contract 19)."""

from __future__ import annotations

from typing import Any

from agent.acl.builtin import BUILTIN_POLICIES
from agent.acl.definitions import policy_content
from agent.acl.grants import fields
from agent.acl.rules import RulesError, parse_rules
from agent.errors import RequestError
from agent.http import parse_acl
from agent.http.acl_links import missing, new_id, path_id
from agent.http.acl_named import (
    asked,
    check_name,
    check_new,
    path_name,
    replaced_id,
    stored,
    written,
)
from agent.http.call import Call
from agent.http.reply import Reply
from raftstore.definition_commands import DeleteACLPolicy, SetACLPolicy
from raftstore.definition_queries import GetACLPolicy, ListACLPolicies
from raftstore.definitions import ACLPolicy
from raftstore.records import Json


def shown(policy: ACLPolicy, *, rules: bool = True) -> dict[str, Json]:
    """A policy as clients see it; lists leave the rules out."""
    kept = fields(policy.content)
    found: dict[str, Json] = {
        "ID": policy.id,
        "Name": policy.name,
        "Description": kept.get("Description", ""),
    }
    if rules:
        found["Rules"] = kept.get("Rules", "")
    if kept.get("Datacenters"):
        found["Datacenters"] = kept["Datacenters"]
    return found | {
        "Hash": kept.get("Hash", ""),
        "CreateIndex": policy.create_index,
        "ModifyIndex": policy.modify_index,
    }


async def list_all(call: Call) -> Reply:
    """All policies, without their rules."""
    found = await asked(call, ListACLPolicies())
    headers = call.read_headers(found, effective=False)
    return call.listing(found.value, lambda each: shown(each, rules=False), headers=headers)


async def read(call: Call) -> Reply:
    """One policy by id."""
    return await _read(call, GetACLPolicy(id=path_id(call, "policy")))


async def read_by_name(call: Call) -> Reply:
    """One policy by name."""
    return await _read(call, GetACLPolicy(name=path_name(call, "policy")))


async def _read(call: Call, query: GetACLPolicy) -> Reply:
    found = await asked(call, query)
    if found.value is None:
        raise missing(call, found)
    return call.answer(shown(found.value), found, effective=False)


async def create(call: Call) -> Reply:
    """A new policy; the agent gives it an id."""
    given = parse_acl.policy(call.body)
    check_new(given, "policy")
    return await _write(call, new_id(call), given, cas=0)


async def update(call: Call) -> Reply:
    """Replace a policy."""
    given = parse_acl.policy(call.body)
    policy_id = replaced_id(call, given, "policy")
    known = await stored(call, GetACLPolicy(id=policy_id), "policy")
    builtin = BUILTIN_POLICIES.get(policy_id)
    if builtin is not None:
        if given.get("rules", "") != builtin.rules:
            reason = f"Changing the Rules for the builtin {builtin.name} policy is not permitted"
            raise RequestError(500, reason)
        if given.get("datacenters"):
            reason = (
                f"Changing the Datacenters of the builtin {builtin.name} policy is not permitted"
            )
            raise RequestError(500, reason)
    return await _write(call, policy_id, given, cas=known.modify_index)


async def _write(call: Call, policy_id: str, given: dict[str, Any], *, cas: int) -> Reply:
    name, rules = given.get("name", ""), given.get("rules", "")
    check_name(name, "Policy", builtin=policy_id in BUILTIN_POLICIES)
    try:
        parse_rules(rules)
    except RulesError as error:
        raise RequestError(500, str(error)) from None
    content = policy_content(
        name, given.get("description", ""), rules, given.get("datacenters", ())
    )
    policy = ACLPolicy(id=policy_id, name=name, content=content)
    query = GetACLPolicy(id=policy_id)
    return call.json(
        shown(await written(call, SetACLPolicy(policy, cas), query, "policy") or policy)
    )


async def delete(call: Call) -> Reply:
    """Forget a policy; one that is not there is gone already."""
    policy_id = path_id(call, "policy")
    builtin = BUILTIN_POLICIES.get(policy_id)
    if builtin is not None:
        reason = f"Delete operation not permitted on the builtin {builtin.name} policy"
        raise RequestError(500, reason)
    await call.change(DeleteACLPolicy(policy_id))
    return call.json(True)
