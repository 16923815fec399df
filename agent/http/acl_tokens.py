"""`/v1/acl/token*`: tokens, and what the one that is shown is (http-api contract 19)."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from agent.acl import tokens
from agent.acl.builtin import ANONYMOUS_ID, ANONYMOUS_SECRET, RESERVED_PREFIX
from agent.acl.caller import NOT_FOUND
from agent.acl.definitions import content_hash, stamp, token_content
from agent.acl.grants import fields
from agent.backend import Reply as Answered
from agent.errors import RequestError
from agent.http import acl_policies, acl_roles, parse_acl
from agent.http.acl_links import (
    Names,
    given_identities,
    missing,
    new_id,
    path_id,
    policy_ids,
    role_ids,
    shown_identities,
    shown_links,
)
from agent.http.acl_named import asked, written
from agent.http.call import Call
from agent.http.params import parse_bool
from agent.http.reply import Reply
from raftstore.definition_commands import DeleteACLTokens, SetACLToken
from raftstore.definition_queries import (
    ACLTokenBySecret,
    GetACLPolicy,
    GetACLRole,
    GetACLToken,
    ListACLTokens,
)
from raftstore.definitions import ACLToken, secret_hash
from raftstore.records import Json
from raftstore.uuids import uuid_problem

_CLONE = "/clone"


def shown(token: ACLToken, names: Names) -> dict[str, Json]:
    """A token as clients see it."""
    return tokens.shown(
        token,
        secret=token.secret,
        policies=shown_links(token.policies, names.policies),
        roles=shown_links(token.roles, names.roles),
        identities=shown_identities(token.content),
    )


def _expired(token: ACLToken) -> bool:
    return token.expires_at is not None and token.expires_at <= time.time()


async def list_all(call: Call) -> Reply:
    """All tokens, or those with a policy, with a role, with an identity, or of an auth method."""
    found = await asked(call, ListACLTokens())
    params = call.params
    policy, role = params.get("policy"), params.get("role")
    method, service = params.get("authmethod"), params.get("servicename")
    if sum(map(bool, (policy, role, method, service))) > 1:
        reason = "can only filter by one of: policy, role, serviceName, or authMethod"
        raise RequestError(500, reason)

    def wanted(token: ACLToken) -> bool:
        return (
            (not policy or policy in token.policies)
            and (not role or role in token.roles)
            and (not method or method == token.auth_method)
            and (not service or service in _services(token))
            and not _expired(token)
        )

    listed = [token for token in found.value if wanted(token)]
    names = await Names.of(call, listed)
    headers = call.read_headers(found, effective=False)
    return call.listing(listed, lambda token: shown(token, names), headers=headers)


def _services(token: ACLToken) -> set[str]:
    found = fields(token.content).get("ServiceIdentities") or ()
    return {each["ServiceName"] for each in found}


async def read(call: Call) -> Reply:
    """One token by its accessor."""
    accessor = path_id(call, "token")
    found = await asked(call, GetACLToken(accessor))
    token = found.value
    if token is None or _expired(token):
        raise missing(call, found)
    view = shown(token, await Names.of(call, [token]))
    if "expanded" in call.params and parse_bool(call.params.get("expanded") or "true"):
        view |= await _expanded(call, token)
    return call.answer(view, found, effective=False)


async def _expanded(call: Call, token: ACLToken) -> dict[str, Json]:
    """The policies and roles behind the links, whole."""
    backend = call.context.backend
    roles = [(await backend.ask(GetACLRole(id=each))).value for each in token.roles]
    kept_roles = [role for role in roles if role is not None]
    ids = dict.fromkeys([*token.policies, *(p for role in kept_roles for p in role.policies)])
    policies = [(await backend.ask(GetACLPolicy(id=each))).value for each in ids]
    names = await Names.of(call, kept_roles)
    config = call.context.config
    return {
        "ExpandedPolicies": [acl_policies.shown(each) for each in policies if each is not None],
        "ExpandedRoles": [acl_roles.shown(each, names) for each in kept_roles],
        "NamespaceDefaultPolicyIDs": None,
        "NamespaceDefaultRoleIDs": None,
        "AgentACLDefaultPolicy": config.acl.default_policy,
        "AgentACLDownPolicy": config.acl.down_policy,
        "ResolvedByAgent": config.node_name,
    }


async def read_self(call: Call) -> Reply:
    """The token that is shown."""
    options = call.options()
    caller = replace(call.caller, secret=call.secret or call.access.tokens.default)
    secret = caller.secret or ANONYMOUS_SECRET
    query = ACLTokenBySecret(secret_hash(secret))
    try:
        found = await call.access.ask(caller, query, options)
    except RequestError as error:
        # A server that is asked with a token which is not there any more says so at once.
        if error.text != NOT_FOUND:
            raise
        raise missing(call, Answered(value=None, index=1)) from None
    token = found.value
    if token is None or _expired(token) or token.accessor == ANONYMOUS_ID:
        raise missing(call, found)
    token = replace(token, secret=secret)
    view = shown(token, await Names.of(call, [token], single=True))
    return call.answer(view, found, effective=False)


async def create(call: Call) -> Reply:
    """A new token; ids that are not given are made."""
    given = parse_acl.token(call.body)
    accessor, secret = given.get("accessor", ""), given.get("secret", "")
    backend = call.context.backend
    if accessor:
        problem = uuid_problem(accessor)
        if problem:
            reason = f"Failed acl token lookup by accessor: failed acl token lookup: {problem}"
            raise RequestError(500, reason)
        if (await backend.ask(GetACLToken(accessor))).value is not None:
            raise RequestError(500, "Invalid Token: AccessorID is already in use")
    if secret and uuid_problem(secret):
        problem = uuid_problem(secret)
        raise RequestError(
            500, f"Failed acl token lookup by secret: failed acl token lookup: {problem}"
        )
    for each in (accessor, secret):
        if each.startswith(RESERVED_PREFIX):
            raise RequestError(
                500, f'Invalid Token: UUIDs with the prefix "{RESERVED_PREFIX}" are reserved'
            )
    if given.get("auth_method"):
        raise RequestError(500, "AuthMethod field is disallowed outside of Login")
    now = time.time()
    expires_at = tokens.expiry(given, now)
    token = await _token(
        call,
        given,
        ACLToken(
            accessor=accessor or new_id(call),
            secret=secret or new_id(call),
            expires_at=expires_at,
            content={"CreateTime": stamp(now)},
        ),
    )
    return await _write(call, token, cas=0)


async def _token(call: Call, given: dict[str, Any], known: ACLToken) -> ACLToken:
    """A token with what was given, and what is known of it already."""
    local = bool(given.get("local", False))
    policies = await policy_ids(call, given.get("policies", ()))
    roles = await role_ids(call, given.get("roles", ()))
    content = token_content(
        given.get("description", ""),
        fields(known.content).get("CreateTime", ""),
        local=local,
        policies=policies,
        roles=roles,
        identities=given_identities(given, "token", local=local),
    )
    return replace(known, policies=policies, roles=roles, content=content)


async def _write(call: Call, token: ACLToken, *, cas: int) -> Reply:
    found = await written(call, SetACLToken(token, cas), GetACLToken(token.accessor), "token")
    now = replace(found or token, secret=token.secret)
    return call.json(shown(now, await Names.of(call, [now])))


async def update(call: Call) -> Reply:
    """Replace a token, or make another one like it (`/clone`)."""
    if call.rest.endswith(_CLONE):
        return await _clone(call, call.rest.removesuffix(_CLONE))
    given = parse_acl.token(call.body)
    if not call.rest:
        raise RequestError(400, "Bad request: Missing token ID")
    if given.get("accessor") and given["accessor"].lower() != call.rest.lower():
        raise RequestError(400, "Bad request: Token Accessor ID in URL and payload do not match")
    stored = await _stored(call, path_id(call, "token"))
    tokens.check_update(given, stored)
    return await _write(call, await _token(call, given, stored), cas=stored.modify_index)


async def _stored(call: Call, accessor: str) -> ACLToken:
    found = await call.context.backend.ask(GetACLToken(accessor))
    if found.value is None or _expired(found.value):
        raise RequestError(500, f'Cannot find token "{accessor}"')
    return found.value


async def _clone(call: Call, rest: str) -> Reply:
    given = parse_acl.token(call.body) if call.body else {}
    accessor = path_id(call, "token", rest)
    stored = await _stored(call, accessor)
    if stored.auth_method:
        raise RequestError(500, "Cannot clone a token created from an auth method")
    kept = dict(fields(stored.content))
    kept.pop("Hash", None)
    content = kept | {
        "Description": given.get("description") or kept.get("Description", ""),
        "CreateTime": stamp(time.time()),
    }
    content["Hash"] = content_hash(content, stored.policies, stored.roles)
    copy = replace(stored, accessor=new_id(call), secret=new_id(call), content=content)
    return await _write(call, copy, cas=0)


async def delete(call: Call) -> Reply:
    """Forget a token; one that is not there is gone already."""
    accessor = path_id(call, "token")
    if accessor == ANONYMOUS_ID:
        raise RequestError(500, "Delete operation not permitted on the anonymous token")
    if accessor == call.caller.accessor:
        reason = "Deletion of the request's authorization token is not permitted"
        raise RequestError(500, reason)
    await call.change(DeleteACLTokens((accessor,)))
    return call.json(True)
