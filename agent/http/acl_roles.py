"""`/v1/acl/role*`: named sets of policies and identities (http-api contract 19)."""

from __future__ import annotations

from typing import Any

from agent.acl.definitions import role_content
from agent.acl.grants import fields
from agent.http import parse_acl
from agent.http.acl_links import (
    Names,
    given_identities,
    new_id,
    path_id,
    policy_ids,
    shown_identities,
    shown_links,
)
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
from raftstore.definition_commands import DeleteACLRole, SetACLRole
from raftstore.definition_queries import GetACLRole, ListACLRoles
from raftstore.definitions import ACLRole
from raftstore.records import Json


def shown(role: ACLRole, names: Names) -> dict[str, Json]:
    """A role as clients see it."""
    kept = fields(role.content)
    found: dict[str, Json] = {
        "ID": role.id,
        "Name": role.name,
        "Description": kept.get("Description", ""),
    }
    policies = shown_links(role.policies, names.policies)
    if policies:
        found["Policies"] = policies
    return (
        found
        | shown_identities(role.content)
        | {
            "Hash": kept.get("Hash", ""),
            "CreateIndex": role.create_index,
            "ModifyIndex": role.modify_index,
        }
    )


async def list_all(call: Call) -> Reply:
    """All roles, or those with a policy."""
    found = await asked(call, ListACLRoles())
    wanted = call.params.get("policy")
    roles = [role for role in found.value if not wanted or wanted in role.policies]
    names = await Names.of(call, roles)
    headers = call.read_headers(found, effective=False)
    return call.listing(roles, lambda role: shown(role, names), headers=headers)


async def read(call: Call) -> Reply:
    """One role by id."""
    return await _read(call, GetACLRole(id=path_id(call, "role")))


async def read_by_name(call: Call) -> Reply:
    """One role by name."""
    return await _read(call, GetACLRole(name=path_name(call, "role")))


async def _read(call: Call, query: GetACLRole) -> Reply:
    found = await asked(call, query)
    if found.value is None:
        return Reply(status=404)
    names = await Names.of(call, [found.value])
    return call.answer(shown(found.value, names), found, effective=False)


async def create(call: Call) -> Reply:
    """A new role; the agent gives it an id."""
    given = parse_acl.role(call.body)
    check_new(given, "role")
    return await _write(call, new_id(call), given, cas=0)


async def update(call: Call) -> Reply:
    """Replace a role."""
    given = parse_acl.role(call.body)
    role_id = replaced_id(call, given, "role")
    known = await stored(call, GetACLRole(id=role_id), "role")
    return await _write(call, role_id, given, cas=known.modify_index)


async def _write(call: Call, role_id: str, given: dict[str, Any], *, cas: int) -> Reply:
    name = given.get("name", "")
    check_name(name, "Role")
    policies = await policy_ids(call, given.get("policies", ()))
    content = role_content(
        name,
        given.get("description", ""),
        policies=policies,
        identities=given_identities(given, "role"),
    )
    role = ACLRole(id=role_id, name=name, policies=policies, content=content)
    now = await written(call, SetACLRole(role, cas), GetACLRole(id=role_id), "role") or role
    return call.json(shown(now, await Names.of(call, [now])))


async def delete(call: Call) -> Reply:
    """Forget a role; one that is not there is gone already."""
    await call.change(DeleteACLRole(path_id(call, "role")))
    return call.json(True)
